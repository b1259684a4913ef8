"""Names of queries: which of osquery's tables one reads, and what is left of it without its pack's prefix.

osquery names a query of a pack ``pack<D><pack><D><query>`` (osquery/config/config.cpp, ``getQueryName``),
where ``D`` is ``--pack_delimiter``: ``_`` unless told otherwise, ``/`` with Fleet, any text in principle.
Names of packs and queries may hold the delimiter themselves, so the name alone does not say where the
query begins; that most packs name their queries after a table does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# The tables of osquery 1.7 to 5.23 (its folder specs/), with those removed or renamed since: logs live long.
_TABLES = """
account_policy_data acpi_tables ad_config ai_agent_skills alf alf_exceptions alf_explicit_auths alf_services
app_schemes apparmor_events apparmor_profiles appcompat_shims apps apt_sources arp_cache asl atom_packages
augeas authenticode authorization_mechanisms authorizations authorized_keys autoexec azure_instance_metadata
azure_instance_tags background_activities_moderator battery bitlocker_info block_devices bpf_process_events
bpf_socket_events browser_plugins carbon_black_info carves certificate_trust_settings certificates
chassis_info chocolatey_packages chrome_extension_content_scripts chrome_extensions chrome_search_engines
connected_displays connectivity cpu_info cpu_time cpuid crashes crontab cups_destinations cups_jobs curl
curl_certificate deb_package_files deb_packages default_environment device_file device_firmware device_hash
device_partitions deviceguard_status disk_encryption disk_events disk_info dns_cache dns_lookup_events
dns_resolvers docker_container_envs docker_container_fs_changes docker_container_labels
docker_container_mounts docker_container_networks docker_container_ports docker_container_processes
docker_container_stats docker_containers docker_image_history docker_image_labels docker_image_layers
docker_images docker_info docker_network_labels docker_networks docker_version docker_volume_labels
docker_volumes drivers ec2_instance_metadata ec2_instance_tags elf_dynamic elf_info elf_sections
elf_segments elf_symbols es_authentication_events es_process_events es_process_file_events etc_hosts
etc_protocols etc_services event_taps extended_attributes fan_speed_sensors fbsd_kmods file file_events
firefox_addons flatpak_packages gatekeeper gatekeeper_approved_apps gpu_info groups hardware_events hash
homebrew_packages hvci_status ibridge_info ie_extensions intel_me_info interface_addresses interface_details
interface_ipv6 iokit_devicetree iokit_registry iptables java_packages jetbrains_plugins kernel_extensions
kernel_info kernel_integrity kernel_keys kernel_modules kernel_panics keychain_acls keychain_items
known_hosts kva_speculative_info last launchd launchd_overrides listening_ports lldp_neighbors load_average
location_services logged_in_users logical_drives logon_sessions lxd_certificates lxd_cluster
lxd_cluster_members lxd_images lxd_instance_config lxd_instance_devices lxd_instances lxd_networks
lxd_storage_pools macports_packages magic managed_policies md_devices md_drives md_personalities mdfind mdls
memory_array_mapped_addresses memory_arrays memory_device_mapped_addresses memory_devices memory_error_info
memory_info memory_map mounts msr nfs_shares npm_packages ntdomains ntfs_acl_permissions ntfs_journal_events
nvram oem_strings office_mru opera_extensions os_version osquery_events osquery_extensions osquery_flags
osquery_info osquery_packs osquery_registry osquery_schedule package_bom package_install_history
package_receipts pacman_packages password_policy patches pci_devices physical_disk_performance pipes
pkg_packages platform_info plist portage_keywords portage_packages portage_use power_sensors
powershell_events preferences prefetch process_envs process_etw_events process_events process_file_events
process_memory_map process_namespaces process_open_files process_open_handles process_open_pipes
process_open_sockets processes programs prometheus_metrics python_packages quicklook_cache recent_files
registry routes rpm_package_files rpm_packages running_apps safari_extensions sandboxes scheduled_tasks
screenlock seccomp_events secureboot secureboot_certificates security_profile_info selinux_events
selinux_settings services shadow shared_folders shared_memory shared_resources sharing_preferences
shell_history shellbags shimcache shortcut_files signature sip_config smart_drive_information smbios_tables
smc_keys snap_packages socket_events ssh_configs startup_items sudoers suid_bin syslog syslog_events
system_controls system_extensions system_info system_profiler systemd_units temperature_sensors time
time_machine_backups time_machine_destinations tpm_info ulimit_info unified_log uptime usb_devices
user_events user_groups user_interaction_events user_ssh_keys userassist users video_info
virtual_memory_info vscode_extensions wifi_networks wifi_scan wifi_status wifi_survey winbaseobj
windows_crashes windows_eventlog windows_events windows_firewall_rules windows_optional_features
windows_search windows_security_center windows_security_products windows_update_history wmi_bios_info
wmi_cli_event_consumers wmi_event_filters wmi_filter_consumer_binding wmi_script_event_consumers
xprotect_entries xprotect_meta xprotect_reports yara yara_events yara_file yara_process
ycloud_instance_metadata yum_sources
"""

# Queries of well-known packs that carry the name of no table, or end in the name of another one.
_PACKED = """
arp_anomaly installed_applications ip_forwarding kextstat open_files open_sockets ramdisk recent_items
running_processes schedule suspicious_file wireless_networks
"""

# Packs known by name, so that any query of theirs is: the one in conf/, and its model of 2017.
_PACKS = ("user_behavior", "external_pack")

KNOWN = frozenset(_TABLES.split()) | frozenset(_PACKED.split())
"""Names a query usually goes by: osquery's tables, and a few names the packs that ship with it use."""

MAX_NAME = 256
"""Longest name looked at, in characters; a longer one is nobody's query and must not fill the cache."""

# A delimiter is signs, or capitals: after small letters or digits ("packages") the word merely goes on.
_DELIMITER = re.compile(r"pack([\W_]{1,16}|[A-Z]{2,16})")


class Query(NamedTuple):
    """What the name of a query tells."""

    name: str
    """The name without the prefix of its pack."""
    evented: bool
    """True for a query of an event table: its first run reports events, and no inventory."""


def query_of(full: str) -> Query:
    """Read a query's name as it stands in the log.

    >>> query_of("pack_user_behavior_shell_history").name
    'shell_history'
    >>> query_of("pack/incident-response/process_events")
    Query(name='process_events', evented=True)
    """
    return _query_of(full) if len(full) <= MAX_NAME else Query(full, evented=False)


@lru_cache(maxsize=4096)  # bounded: whoever can write to the log chooses the names
def _query_of(full: str) -> Query:
    name = _without_pack(full)
    return Query(name, name.endswith("_events") or name == "syslog")


def _without_pack(full: str) -> str:
    match = _DELIMITER.match(full)
    if match is None:
        return full
    run = match[1]
    shortest = 2 if run.isalpha() else 1
    for size in range(len(run), shortest - 1, -1):
        delimiter = run[:size]
        body = full[len("pack") + size :]
        for pack in _PACKS:
            if body.startswith(f"{pack}{delimiter}"):
                return body.removeprefix(f"{pack}{delimiter}") or full
        _, *parts = body.split(delimiter)
        if parts and parts[-1]:
            tails = [delimiter.join(parts[start:]) for start in range(len(parts))]
            # The longest tail is the query unless the pack's own name holds the delimiter; only a name we
            # know can tell, and the longest known one does (`file_events` is not `process_file_events`).
            return next((tail for tail in tails if tail in KNOWN), tails[0])
    return full
