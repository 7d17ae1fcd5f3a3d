//! The kernel's numbers and structs that `libc` does not have. Sources: `linux/bpf.h`,
//! `linux/if_link.h`, `linux/if_xdp.h`, `linux/ethtool.h`, `asm-generic/socket.h`.

/// Bytes that the kernel leaves free before a received frame (`XDP_PACKET_HEADROOM`, bpf.h).
pub const XDP_PACKET_HEADROOM: u32 = 256;

/// `IFLA_XDP` flags, if_link.h: which hook of the interface runs the program.
pub const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// See [`XDP_FLAGS_SKB_MODE`]; the driver's hook.
pub const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// Verdicts of an XDP program (`enum xdp_action`, bpf.h).
pub const XDP_PASS: u32 = 2;
/// See [`XDP_PASS`]; here: to an AF_XDP socket.
pub const XDP_REDIRECT: u32 = 4;

/// `SOL_XDP` option of Linux 6.18: frames that one `sendto` takes from the TX ring in copy mode.
pub const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

pub const SO_PREFER_BUSY_POLL: libc::c_int = 69;
pub const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

pub const BPF_MAP_CREATE: libc::c_int = 0;
pub const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
pub const BPF_PROG_LOAD: libc::c_int = 5;
pub const BPF_PROG_TEST_RUN: libc::c_int = 10;
pub const BPF_LINK_CREATE: libc::c_int = 28;

pub const BPF_MAP_TYPE_XSKMAP: u32 = 17;
pub const BPF_PROG_TYPE_XDP: u32 = 6;
pub const BPF_ATTACH_TYPE_XDP: u32 = 37;

/// Capability bits, `linux/capability.h`.
pub const CAP_NET_ADMIN: u32 = 12;
pub const CAP_SYS_ADMIN: u32 = 21;
pub const CAP_BPF: u32 = 39;

pub const SIOCETHTOOL: libc::c_ulong = 0x8946;
pub const ETHTOOL_GDRVINFO: u32 = 0x0000_0003;
pub const ETHTOOL_GCHANNELS: u32 = 0x0000_003c;

/// `union bpf_attr`, member of `BPF_MAP_CREATE`.
#[repr(C)]
#[derive(Default)]
pub struct MapCreate {
    pub map_type: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
    pub inner_map_fd: u32,
    pub numa_node: u32,
    pub map_name: [u8; 16],
}

/// Member of `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
#[derive(Default)]
pub struct MapUpdate {
    pub map_fd: u32,
    pub pad: u32,
    pub key: u64,
    pub value: u64,
    pub flags: u64,
}

/// Member of `BPF_PROG_LOAD`, as far as `expected_attach_type`.
#[repr(C)]
#[derive(Default)]
pub struct ProgLoad {
    pub prog_type: u32,
    pub insn_cnt: u32,
    pub insns: u64,
    pub license: u64,
    pub log_level: u32,
    pub log_size: u32,
    pub log_buf: u64,
    pub kern_version: u32,
    pub prog_flags: u32,
    pub prog_name: [u8; 16],
    pub prog_ifindex: u32,
    pub expected_attach_type: u32,
}

/// Member of `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
pub struct TestRun {
    pub prog_fd: u32,
    pub retval: u32,
    pub data_size_in: u32,
    pub data_size_out: u32,
    pub data_in: u64,
    pub data_out: u64,
    pub repeat: u32,
    pub duration: u32,
    pub ctx_size_in: u32,
    pub ctx_size_out: u32,
    pub ctx_in: u64,
    pub ctx_out: u64,
    pub flags: u32,
    pub cpu: u32,
    pub batch_size: u32,
    pub pad: u32,
}

/// Member of `BPF_LINK_CREATE`, as far as XDP needs it.
#[repr(C)]
#[derive(Default)]
pub struct LinkCreate {
    pub prog_fd: u32,
    pub target_ifindex: u32,
    pub attach_type: u32,
    pub flags: u32,
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
pub struct EthtoolChannels {
    pub cmd: u32,
    pub max_rx: u32,
    pub max_tx: u32,
    pub max_other: u32,
    pub max_combined: u32,
    pub rx_count: u32,
    pub tx_count: u32,
    pub other_count: u32,
    pub combined_count: u32,
}

/// `struct ethtool_drvinfo`; only the driver's name is read.
#[repr(C)]
pub struct EthtoolDrvinfo {
    pub cmd: u32,
    pub driver: [u8; 32],
    pub rest: [u8; 160],
}

const _: () = {
    assert!(size_of::<MapCreate>() == 44);
    assert!(size_of::<MapUpdate>() == 32);
    assert!(size_of::<ProgLoad>() == 72);
    assert!(std::mem::offset_of!(ProgLoad, prog_name) == 48);
    assert!(size_of::<TestRun>() == 80);
    assert!(std::mem::offset_of!(TestRun, ctx_in) == 48);
    assert!(size_of::<LinkCreate>() == 16);
    assert!(size_of::<EthtoolChannels>() == 36);
    assert!(size_of::<EthtoolDrvinfo>() == 196);
    assert!(size_of::<libc::xdp_desc>() == 16);
    assert!(size_of::<libc::sockaddr_xdp>() == 16);
    assert!(size_of::<libc::xdp_umem_reg>() == 32);
    assert!(size_of::<libc::xdp_mmap_offsets>() == 128);
    assert!(size_of::<libc::xdp_statistics>() == 48);
};
