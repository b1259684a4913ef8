"""The desktop that all users of the host share, and the programs they run on it."""

from __future__ import annotations

from anomaly.simulation.persona import App

SESSION: tuple[str, ...] = (
    "/usr/lib/systemd/systemd",
    "/usr/bin/pipewire",
    "/usr/bin/wireplumber",
    "/usr/bin/pipewire-pulse",
    "/usr/bin/dbus-daemon",
    "/usr/bin/gnome-keyring-daemon",
    "/usr/libexec/gnome-session-binary",
    "/usr/bin/gnome-shell",
    "/usr/libexec/gvfsd",
    "/usr/libexec/gvfsd-fuse",
    "/usr/libexec/at-spi-bus-launcher",
    "/usr/libexec/xdg-document-portal",
    "/usr/libexec/xdg-desktop-portal",
    "/usr/libexec/gsd-color",
    "/usr/libexec/gsd-keyboard",
    "/usr/libexec/gsd-media-keys",
    "/usr/libexec/gsd-power",
    "/usr/libexec/gsd-xsettings",
    "/usr/libexec/evolution-source-registry",
    "/usr/libexec/goa-daemon",
    "/usr/libexec/tracker-miner-fs-3",
    "/usr/bin/ibus-daemon",
    "/usr/libexec/ibus-x11",
    "/usr/libexec/gnome-terminal-server",
)
SESSION_FILES: tuple[str, ...] = (
    "{home}/.local/share/gvfs-metadata/home",
    "{home}/.config/dconf/user",
    "{home}/.local/share/keyrings/login.keyring",
    "{home}/.local/share/tracker3/files/meta.db",
)
CHORES: tuple[str, ...] = (
    "/usr/libexec/tracker-extract-3",
    "/usr/libexec/gvfsd-metadata",
    "/usr/bin/gnome-calendar --gapplication-service",
    "/usr/libexec/gnome-shell-calendar-server",
    "/usr/bin/update-notifier",
    "/usr/bin/systemd-tmpfiles --user --clean",
    "/usr/bin/xdg-settings get default-web-browser",
)
"""What a desktop starts on its own in the course of a day."""


def firefox(sites: float) -> App:
    """Return the browser, for somebody who opens that many connections an hour."""
    root = "/snap/firefox/4793/usr/lib/firefox"
    return App(
        path=f"{root}/firefox",
        cmdline=f"{root}/firefox",
        helpers=(
            ("Socket Process", f"{root}/firefox -contentproc socket"),
            ("Privileged Cont", f"{root}/firefox -contentproc tab"),
            ("WebExtensions", f"{root}/firefox -contentproc tab"),
            ("Isolated Web Co", f"{root}/firefox -contentproc tab"),
            ("Isolated Web Co", f"{root}/firefox -contentproc tab"),
        ),
        hours=5,
        site="site",
        sites=sites,
        document="document",  # of its own stores the pack sees nothing
        documents=0.8,
        upgrade=("firefox/4793", "firefox/4848"),
    )


def thunderbird(sites: float) -> App:
    """Return the mail program, for somebody who gets mail that often in an hour."""
    return App(
        path="/usr/lib/thunderbird-128.3/thunderbird-bin",
        cmdline="/usr/lib/thunderbird-128.3/thunderbird-bin",
        site="site",
        sites=sites,
        files=(
            "{home}/.thunderbird/default/global-messages-db.sqlite",
            "{home}/.thunderbird/default/ImapMail/mail01/INBOX",
        ),
        upgrade=("thunderbird-128.3", "thunderbird-128.4"),
    )


CODE = App(
    path="/snap/code/165/usr/share/code/code",
    cmdline="/snap/code/165/usr/share/code/code --no-sandbox",
    helpers=(
        ("code", "/snap/code/165/usr/share/code/code --type=renderer"),
        ("code", "/snap/code/165/usr/share/code/code --type=utility"),
    ),
    chance=0.7,
    hours=3,
    site="site",
    sites=2,
    files=("{home}/.config/Code/User/globalStorage/state.vscdb",),
    document="edited",
    documents=2,
    upgrade=("code/165", "code/168"),
)
OFFICE = App(
    path="/usr/lib/libreoffice/program/soffice.bin",
    cmdline="/usr/lib/libreoffice/program/soffice.bin --calc",
    chance=0.9,
    hours=2.5,
    files=("{home}/.config/libreoffice/4/user/registrymodifications.xcu",),
    document="report",
    documents=3,
)
JUPYTER = App(
    path="/usr/bin/python3.12",
    cmdline="/usr/bin/python3.12 /usr/bin/jupyter-lab --no-browser",
    helpers=(
        ("python3", "/usr/bin/python3.12 -m ipykernel_launcher"),
        ("python3", "/usr/bin/python3.12 -m ipykernel_launcher"),
    ),
    chance=0.9,
    hours=5,
    files=("{home}/.local/share/jupyter/nbsignatures.db",),
    document="notebook",
    documents=3,
    port=8888,
)
