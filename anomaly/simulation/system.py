"""The host itself: its calendar, boot, cron, the upgrade of packages, and what has no user."""
# ruff: noqa: S104, SIM905 - the addresses are the host's of the story; a list of words reads best as text

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from anomaly.simulation.timeline import FOREVER, HOSTS, ROOT, TCP, UDP, Account, Process, Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86400
INTRUSION_DAYS = 2
"""Days that each of the two intrusions has for itself, after the normal ones."""
_WARM_UP = 3  # days lived before osqueryd is installed: a host has a past, which its first run finds

DAEMONS: tuple[tuple[str, str], ...] = (
    ("/usr/lib/systemd/systemd", ""), ("/usr/lib/systemd/systemd-journald", ""),
    ("/usr/lib/systemd/systemd-udevd", ""), ("/usr/lib/systemd/systemd-resolved", "systemd-resolve"),
    ("/usr/lib/systemd/systemd-timesyncd", "systemd-timesync"), ("/usr/lib/systemd/systemd-logind", ""),
    ("/usr/bin/dbus-daemon", "messagebus"), ("/usr/sbin/NetworkManager", ""), ("/usr/sbin/rsyslogd", "syslog"),
    ("/usr/libexec/polkitd", "polkitd"), ("/usr/sbin/cron", ""), ("/usr/sbin/sshd", ""), ("/usr/sbin/gdm3", ""),
    ("/usr/sbin/xrdp", "xrdp"), ("/usr/sbin/cupsd", ""), ("/usr/bin/containerd", ""), ("/usr/bin/dockerd", ""),
    ("/usr/libexec/accounts-daemon", ""), ("/usr/libexec/udisks2/udisksd", ""), ("/usr/libexec/upowerd", ""),
    ("/usr/sbin/ModemManager", ""), ("/usr/lib/snapd/snapd", ""), ("/usr/bin/osqueryd", ""),
    ("/usr/sbin/agetty", ""), ("/usr/libexec/rtkit-daemon", "rtkit"), ("/usr/sbin/avahi-daemon", "avahi"),
)  # fmt: skip
_SERVICES = {"systemd-resolve": 991, "systemd-timesync": 996, "messagebus": 101, "syslog": 104, "polkitd": 990,
             "xrdp": 112, "rtkit": 108, "avahi": 110}  # fmt: skip
_LISTENING: dict[str, tuple[tuple[int, str, str], ...]] = {
    "/usr/lib/systemd/systemd-resolved": ((53, TCP, "127.0.0.53"), (53, UDP, "127.0.0.53")),
    "/usr/sbin/sshd": ((22, TCP, "0.0.0.0"), (22, TCP, "::")),
    "/usr/sbin/xrdp": ((3389, TCP, "::"),),
    "/usr/sbin/cupsd": ((631, TCP, "127.0.0.1"), (631, TCP, "::1")),
    "/usr/sbin/avahi-daemon": ((5353, UDP, "0.0.0.0"), (5353, UDP, "::"), (47113, UDP, "0.0.0.0")),
}
DEVICES = (  # vendor and model, as numbers and as names, and the serial number
    ("1d6b", "0002", "Linux Foundation", "2.0 root hub", "0000:00:14.0"),
    ("1d6b", "0003", "Linux Foundation", "3.0 root hub", "0000:00:14.0"),
    ("8087", "0a2b", "Intel Corp.", "Bluetooth wireless interface", ""),
    ("046d", "c31c", "Logitech, Inc.", "Keyboard K120", ""),
    ("046d", "c077", "Logitech, Inc.", "Mouse", ""),
)
_INTERFACE = "enp3s0"
MODULES = tuple(
    "aesni_intel ahci autofs4 bluetooth bridge btrfs cfg80211 coretemp crc32_pclmul cryptd dm_crypt drm "
    "e1000e ext4 fuse ghash_clmulni_intel hid hid_generic i2c_i801 i915 intel_rapl_msr ip_tables "
    "iptable_nat iwlwifi joydev kvm kvm_intel libahci lp mac80211 mei mei_me msr nf_conntrack nf_nat "
    "nls_iso8859_1 nvme nvme_core overlay parport psmouse raid1 rapl sch_fq_codel snd snd_hda_codec "
    "snd_hda_intel snd_pcm soundcore sunrpc thunderbolt tls usbhid veth video wmi x_tables xhci_pci xor "
    "zstd_compress".split()
)
PACKAGES = tuple(
    "firefox thunderbird libssl3t64 openssl curl libcurl4t64 vim vim-common git python3.12 "
    "python3.12-minimal libpython3.12-stdlib systemd libsystemd0 udev linux-image-6.8.0-87-generic "
    "linux-modules-6.8.0-87-generic postgresql-client-16 libpq5 openssh-client openssh-server gnome- "
    "shell libreoffice-core tzdata".split()
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The calendar of the simulation, in seconds since 1970."""

    start: int
    """When osqueryd first runs."""
    days: int
    """Normal days."""

    @property
    def begin(self) -> float:
        """When life on the host begins, a few days before anybody watches it."""
        return self.start - _WARM_UP * DAY

    @property
    def masquerade(self) -> int:
        """When the normal days are over, and the masquerade's begin."""
        return self.start + self.days * DAY

    @property
    def attack(self) -> int:
        """When the days of the attack begin."""
        return self.masquerade + INTRUSION_DAYS * DAY

    @property
    def end(self) -> int:
        """When the last day is over."""
        return self.attack + INTRUSION_DAYS * DAY

    @property
    def down(self) -> float:
        """When the host is rebooted: on the second Tuesday of two weeks, at 10:12."""
        return self.start + self.days * 4 // 7 * DAY + 36720

    @property
    def up(self) -> float:
        """When osqueryd runs again after the reboot."""
        return self.down + 74

    @property
    def upgrade(self) -> float:
        """When the packages are upgraded: on the second Thursday of two weeks, at 10:41."""
        return self.start + self.days * 5 // 7 * DAY + 38460

    def midnights(self) -> Iterator[float]:
        """Yield the beginning of each day that is lived."""
        time = self.begin
        while time < self.end:
            yield time
            time += DAY

    def progress(self, time: float) -> float:
        """Return how far the normal days have gone, from 0 to 1: what drifts goes by this."""
        return min(1.0, max(0.0, (time - self.start) / (self.days * DAY)))


def run(timeline: Timeline, plan: Plan, seed: str) -> None:
    """Tell what the host does on its own."""
    rng = Random(seed)
    for begin, end in ((plan.begin, plan.down), (plan.up, FOREVER)):
        _boot(timeline, begin, end, rng)
    _cron(timeline, plan, rng)
    _upgrade(timeline, plan.upgrade, rng)
    for module in MODULES:
        timeline.hold("kernel_modules", {"name": module}, plan.begin, FOREVER)
    _neighbours(timeline, plan, rng)
    _devices(timeline, plan, rng)


def _boot(timeline: Timeline, begin: float, end: float, rng: Random) -> None:
    """Start the daemons one after another; osqueryd sees most of them come."""
    for path, user in DAEMONS:
        begin += rng.uniform(0.1, 3)
        account = Account(user, _SERVICES[user], "/") if user else ROOT
        daemon = timeline.execute(path, start=begin, end=end, runs_as=account)
        for port, protocol, where in _LISTENING.get(path, ()):
            timeline.listen(daemon, port, begin, end, where=where, protocol=protocol)
        if path.endswith(("rsyslogd", "dockerd", "cupsd", "NetworkManager")):
            timeline.open(daemon, f"/var/log/{daemon.name}.log", begin, end)


def _cron(timeline: Timeline, plan: Plan, rng: Random) -> None:
    """Run root's cron jobs and timers."""
    time = plan.begin
    while time < plan.end:
        jobs = ["cd / && run-parts --report /etc/cron.hourly"]
        if int(time) % DAY < 3600:
            jobs += [
                "/etc/cron.daily/logrotate",
                "/etc/cron.daily/man-db",
                "/usr/lib/apt/apt.systemd.daily update",
                "/usr/sbin/e2scrub_all -A -r",
                "/usr/bin/updatedb.plocate",
            ]
        for job in jobs:
            start = time + 1020 + rng.uniform(0, 2)
            cron = timeline.execute(
                "/usr/sbin/cron", "/usr/sbin/CRON -f -P", start=start, end=start + 9, login=ROOT, name="cron"
            )
            shell = timeline.execute(
                "/usr/bin/dash", f"/bin/sh -c {job}", start=start + 0.1, end=start + 8, parent=cron
            )
            path = job.split("&&")[-1].split()[0]
            timeline.execute(
                path if "/" in path else f"/usr/bin/{path}",
                job.split("&& ")[-1],
                start=start + 0.2,
                end=start + rng.uniform(0.3, 8),
                parent=shell,
            )
            opened = "pam_unix(cron:session): session opened for user root(uid=0) by root(uid=0)"
            timeline.log(start, "CRON", opened, "authpriv")
        time += 3600


def _upgrade(timeline: Timeline, time: float, rng: Random) -> None:
    """Upgrade packages: a flood of maintainer scripts with paths that nobody has seen before."""
    apt = timeline.execute(
        "/usr/bin/python3.12",
        "/usr/bin/python3 /usr/bin/unattended-upgrade",
        start=time - 400,
        end=time + 60,
        name="unattended-upgr",
    )
    time -= 380
    for package in PACKAGES:
        version = f"{rng.randint(1, 9)}.{rng.randint(0, 40)}-{rng.randint(1, 6)}ubuntu{rng.randint(1, 3)}"
        dpkg = _child(
            timeline,
            apt,
            "/usr/bin/dpkg",
            f"--unpack /var/cache/apt/archives/{package}_{version}_amd64.deb",
            time,
            9,
        )
        _child(timeline, dpkg, "/usr/bin/dpkg-deb", f"--control {package}_{version}_amd64.deb", time + 1, 2)
        _child(timeline, dpkg, f"/var/lib/dpkg/tmp.ci/{package}.preinst", f"upgrade {version}", time + 3, 1)
        _child(timeline, dpkg, f"/var/lib/dpkg/info/{package}.postinst", f"configure {version}", time + 6, 2)
        time += rng.uniform(10, 17)


def _child(timeline: Timeline, parent: Process, path: str, words: str, start: float, seconds: float) -> Process:
    return timeline.execute(path, f"{path} {words}", start=start, end=start + seconds, parent=parent)


def _neighbours(timeline: Timeline, plan: Plan, rng: Random) -> None:
    """Let the addresses of the network come into the cache, and go."""
    for name, where in HOSTS.items():
        digits = f"{rng.getrandbits(24):06x}"
        mac = f"52:54:00:{digits[:2]}:{digits[2:4]}:{digits[4:]}"
        time = plan.begin
        while where.startswith("10.20.0.") and name != "ws1" and time < plan.end:
            stays = rng.expovariate(1 / 20000)
            timeline.hold("arp_cache", {"address": where, "interface": _INTERFACE, "mac": mac}, time, time + stays)
            time += stays + rng.expovariate(1 / 2000)
    time = plan.begin
    while time < plan.end:  # phones, printers and visitors
        time += rng.expovariate(1 / 7000)
        mac = f"a4:{rng.getrandbits(8):02x}:1c:{rng.getrandbits(8):02x}:0e:{rng.getrandbits(8):02x}"
        columns = {"address": f"10.20.0.{rng.randint(50, 90)}", "interface": _INTERFACE, "mac": mac}
        timeline.hold("arp_cache", columns, time, time + rng.expovariate(1 / 5000))


def _devices(timeline: Timeline, plan: Plan, rng: Random) -> None:
    """Have a few USB devices for good, and plug a stick in now and then, in working hours."""
    for device in DEVICES:
        timeline.hold("usb_devices", _usb(*device), plan.begin, FOREVER)
    for midnight in plan.midnights():
        if rng.random() < 0.4:
            start = midnight + rng.uniform(9, 17) * 3600
            end = start + rng.uniform(200, 4000)
            serial = rng.choice(("4C530001230915", "AA00000000000489", f"{rng.getrandbits(40):010X}"))
            stick = _usb("0781", "5581", "SanDisk Corp.", "Ultra", serial)
            timeline.hold("usb_devices", stick, start, end)
            timeline.hold("kernel_modules", {"name": "usb_storage"}, start + 0.5, end + 30)


def _usb(vendor_id: str, model_id: str, vendor: str, model: str, serial: str) -> dict[str, str]:
    return {"model": model, "model_id": model_id, "serial": serial, "vendor": vendor, "vendor_id": vendor_id}
