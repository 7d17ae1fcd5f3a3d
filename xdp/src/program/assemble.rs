//! The program's instructions. Encoding: Documentation/bpf/standardization/instruction-set.rst.
//!
//! ```text
//! r6 = context, r2 = frame (after a tag: 4 bytes on), r3 = end of frame
//!   shorter than 42 bytes           -> PASS
//!   ethertype 0x8100, tag = our id  -> skip 4 bytes, again 42      (only with a VLAN)
//!   ethertype other than 0x0800     -> PASS
//!   first byte of IP other than 45  -> PASS     (options, other versions)
//!   more fragments, or an offset    -> PASS
//!   protocol other than 17          -> PASS
//!   destination is none of ours     -> PASS
//!   bpf_redirect_map(map, context->rx_queue_index, PASS)      an empty place: PASS
//! ```

use super::Filter;
use crate::abi::XDP_PASS;

/// Operation codes, opcode byte only.
mod op {
    pub(super) const LOAD_U8: u8 = 0x71;
    pub(super) const LOAD_U16: u8 = 0x69;
    pub(super) const LOAD_U32: u8 = 0x61;
    pub(super) const LOAD_IMMEDIATE_64: u8 = 0x18;
    pub(super) const MOVE: u8 = 0xbf;
    pub(super) const MOVE_IMMEDIATE: u8 = 0xb7;
    pub(super) const ADD_IMMEDIATE: u8 = 0x07;
    pub(super) const AND_IMMEDIATE_32: u8 = 0x54;
    pub(super) const JUMP: u8 = 0x05;
    pub(super) const JUMP_GREATER: u8 = 0x2d;
    /// Compare 32 bits: the immediate is not sign-extended.
    pub(super) const JUMP_EQUAL_32: u8 = 0x16;
    pub(super) const JUMP_NOT_EQUAL_32: u8 = 0x56;
    pub(super) const CALL: u8 = 0x85;
    pub(super) const EXIT: u8 = 0x95;
}

/// `BPF_PSEUDO_MAP_FD`: the immediate is a descriptor of a map.
const PSEUDO_MAP_FD: u8 = 1;
/// `BPF_FUNC_redirect_map`.
const REDIRECT_MAP: i32 = 51;

/// Offsets in `struct xdp_md`.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 4;
const CONTEXT_RX_QUEUE_INDEX: i16 = 16;

/// Headers of Ethernet, IPv4 and UDP.
const HEADERS_BYTES: i32 = 42;

/// Where a jump goes; resolved when the program is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Label {
    Pass,
    Ipv4,
    Redirect,
    /// The destination after this one.
    Next(usize),
}

#[derive(Default)]
struct Assembler {
    instructions: Vec<u64>,
    /// (instruction, where it jumps to)
    jumps: Vec<(usize, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Assembler {
    fn emit(&mut self, code: u8, dst: u8, src: u8, offset: i16, immediate: i32) {
        // Two fields of four bits, which lie the other way round on big-endian machines.
        let registers =
            if cfg!(target_endian = "little") { dst | src << 4 } else { dst << 4 | src };
        let [o0, o1] = offset.to_ne_bytes();
        let [i0, i1, i2, i3] = immediate.to_ne_bytes();
        let bytes = [code, registers, o0, o1, i0, i1, i2, i3];
        self.instructions.push(u64::from_ne_bytes(bytes));
    }

    fn jump(&mut self, code: u8, dst: u8, src: u8, immediate: i32, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.emit(code, dst, src, 0, immediate);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// PASS unless `bytes` of frame follow r2. Uses r4.
    fn need(&mut self, bytes: i32) {
        self.emit(op::MOVE, 4, 2, 0, 0);
        self.emit(op::ADD_IMMEDIATE, 4, 0, 0, bytes);
        self.jump(op::JUMP_GREATER, 4, 3, 0, Label::Pass);
    }

    fn finish(mut self) -> Vec<u64> {
        for &(at, label) in &self.jumps {
            let target = self.labels.iter().find(|(name, _)| *name == label);
            let target = target.expect("a label of this file").1;
            let [low, high] = ((target - at - 1) as i16).to_ne_bytes(); // forward, < 200
            let mut bytes = self.instructions[at].to_ne_bytes();
            (bytes[2], bytes[3]) = (low, high);
            self.instructions[at] = u64::from_ne_bytes(bytes);
        }
        self.instructions
    }
}

/// A 16-bit number as the program sees it when it loads two bytes of network order.
fn network_u16(value: u16) -> i32 {
    i32::from(u16::from_ne_bytes(value.to_be_bytes()))
}

/// The instructions for `filter`, redirecting through the map with descriptor `map`.
pub(super) fn program(filter: &Filter, map: libc::c_int) -> Vec<u64> {
    let mut a = Assembler::default();
    a.emit(op::MOVE, 6, 1, 0, 0);
    a.emit(op::LOAD_U32, 2, 1, CONTEXT_DATA, 0);
    a.emit(op::LOAD_U32, 3, 1, CONTEXT_DATA_END, 0);
    a.need(HEADERS_BYTES);
    a.emit(op::LOAD_U16, 5, 2, 12, 0);
    if let Some(id) = filter.vlan() {
        a.jump(op::JUMP_EQUAL_32, 5, 0, network_u16(0x0800), Label::Ipv4);
        a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, network_u16(0x8100), Label::Pass);
        a.need(HEADERS_BYTES + 4);
        a.emit(op::LOAD_U16, 5, 2, 14, 0);
        a.emit(op::AND_IMMEDIATE_32, 5, 0, 0, network_u16(0x0fff)); // without priority
        a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, network_u16(id), Label::Pass);
        a.emit(op::LOAD_U16, 5, 2, 16, 0);
        a.emit(op::ADD_IMMEDIATE, 2, 0, 0, 4);
    }
    a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, network_u16(0x0800), Label::Pass);
    a.label(Label::Ipv4);
    a.emit(op::LOAD_U8, 5, 2, 14, 0);
    a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, 0x45, Label::Pass);
    a.emit(op::LOAD_U16, 5, 2, 20, 0);
    a.emit(op::AND_IMMEDIATE_32, 5, 0, 0, network_u16(0x3fff)); // more fragments, offset
    a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, 0, Label::Pass);
    a.emit(op::LOAD_U8, 5, 2, 23, 0);
    a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, i32::from(libc::IPPROTO_UDP as u8), Label::Pass);
    a.emit(op::LOAD_U32, 5, 2, 30, 0);
    a.emit(op::LOAD_U16, 4, 2, 36, 0);
    for (i, to) in filter.destinations().iter().enumerate() {
        let ip = i32::from_ne_bytes(to.ip().octets());
        a.jump(op::JUMP_NOT_EQUAL_32, 5, 0, ip, Label::Next(i));
        a.jump(op::JUMP_EQUAL_32, 4, 0, network_u16(to.port()), Label::Redirect);
        a.label(Label::Next(i));
    }
    a.jump(op::JUMP, 0, 0, 0, Label::Pass);
    a.label(Label::Redirect);
    a.emit(op::LOAD_IMMEDIATE_64, 1, PSEUDO_MAP_FD, 0, map);
    a.emit(0, 0, 0, 0, 0); // second half of the 64-bit load
    a.emit(op::LOAD_U32, 2, 6, CONTEXT_RX_QUEUE_INDEX, 0);
    a.emit(op::MOVE_IMMEDIATE, 3, 0, 0, XDP_PASS as i32);
    a.emit(op::CALL, 0, 0, 0, REDIRECT_MAP);
    a.emit(op::EXIT, 0, 0, 0, 0);
    a.label(Label::Pass);
    a.emit(op::MOVE_IMMEDIATE, 0, 0, 0, XDP_PASS as i32);
    a.emit(op::EXIT, 0, 0, 0, 0);
    a.finish()
}
