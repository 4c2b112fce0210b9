//! A second wall before containers, for the time when somebody has flushed the packet rules.
//!
//! It is a filter of traffic control at the bridge of a network (tc-bpf(8)), which no firewall knows
//! or flushes. To a container it lets only pass what our packet rules have let through: their last
//! rule marks it. Frames between containers of the network do not pass here, and neither does what
//! they send out: until the rules are back, a container that makes packets of its own (`NET_RAW`)
//! reaches 127.0.0.0/8 of the host through the bridge (`route_localnet`).

use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::net::netdevice::name_to_index;

use crate::error::{Result, refused};
use crate::firewall::LET_THROUGH;
use crate::netlink::{self, Channel};
use crate::nft::Attributes;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

/// `TC_H_CLSACT`, and its side of what leaves by a link, of `linux/pkt_sched.h`.
const CLSACT: u32 = 0xffff_fff1;
const TO_CONTAINERS: u32 = 0xffff_fff3;
/// `tcm_handle` of that queue.
const CLSACT_HANDLE: u32 = 0xffff_0000;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// An instruction of the classic packet filter: `struct sock_filter`.
type Instruction = (u16, u8, u8, u32);

/// `ld [mark]`, `jeq`, `ret` of `linux/filter.h`.
const LOAD_MARK: Instruction = (0x20, 0, 0, 0xffff_f000 + 20);
const fn if_equal(value: u32, then: u8, or_else: u8) -> Instruction {
    (0x15, then, or_else, value)
}
/// `TC_ACT_OK` and `TC_ACT_SHOT`.
const PASS: Instruction = (0x06, 0, 0, 0);
const DROP: Instruction = (0x06, 0, 0, 2);

/// What was let through.
const MARKED: &[Instruction] = &[LOAD_MARK, if_equal(LET_THROUGH, 0, 1), PASS, DROP];
/// The filter for one kind of packet.
struct Filter {
    protocol: u16,
    priority: u32,
}

const FILTERS: [Filter; 2] =
    [Filter { protocol: ETH_P_IP, priority: 1 }, Filter { protocol: ETH_P_IPV6, priority: 2 }];

impl Filter {
    /// `RTM_NEWTFILTER` of it: `cls_bpf` in its direct form, where the program itself decides.
    fn request(&self, index: u32, number: u32) -> Vec<u8> {
        const RTM_NEWTFILTER: u16 = 44;
        const OPS_LEN: u16 = 4;
        const OPS: u16 = 5;
        const FLAGS: u16 = 8;
        const DIRECT: u32 = 1;
        let mut program = Vec::new();
        for (code, jump_true, jump_false, value) in MARKED {
            program.extend(code.to_ne_bytes());
            program.extend([*jump_true, *jump_false]);
            program.extend(value.to_ne_bytes());
        }
        let length = u16::try_from(MARKED.len()).unwrap_or_default();
        let options = Attributes::default()
            .bytes(OPS_LEN, &length.to_ne_bytes())
            .bytes(OPS, &program)
            .bytes(FLAGS, &DIRECT.to_ne_bytes());
        let info = (self.priority << 16) | u32::from(self.protocol.to_be());
        message(RTM_NEWTFILTER, number, index, [1, TO_CONTAINERS, info], "bpf", Some(&options))
    }
}

/// Builds what is not there of the wall of a bridge, which stands until the bridge goes. Gives
/// whether that was anything.
///
/// A kernel without traffic control (`NET_CLS_ACT`, `NET_CLS_BPF`) has the first wall alone.
///
/// # Errors
/// There is no such bridge, or the kernel refuses.
pub fn build(bridge: &str) -> Result<bool> {
    let failed = || refused("build the wall of", bridge);
    let mut channel = Channel::open(NETLINK_ROUTE).map_err(failed())?;
    let index = name_to_index(&channel, bridge).map_err(refused("find link", bridge))?;
    let mut built = false;
    for part in 0..=FILTERS.len() {
        let number = channel.number();
        let request = match part.checked_sub(1) {
            None => queue(index, number),
            Some(filter) => FILTERS[filter].request(index, number),
        };
        let answers = channel.exchange(&request).map_err(failed())?;
        match netlink::refusal(&answers) {
            None => built = true,
            Some(refusal) => match refusal.errno.raw_os_error() {
                Some(libc::EEXIST) => {}
                Some(libc::ENOENT | libc::EOPNOTSUPP) => return Ok(false),
                _ => return Err(failed()(refusal.errno)),
            },
        }
    }
    Ok(built)
}

/// `RTM_NEWQDISC`: where filters are.
fn queue(index: u32, number: u32) -> Vec<u8> {
    const RTM_NEWQDISC: u16 = 36;
    message(RTM_NEWQDISC, number, index, [CLSACT_HANDLE, CLSACT, 0], "clsact", None)
}

/// Netlink's header, `struct tcmsg` with handle, parent and info, and the attributes.
fn message(
    kind: u16,
    number: u32,
    index: u32,
    words: [u32; 3],
    name: &str,
    options: Option<&Attributes>,
) -> Vec<u8> {
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    let mut attributes = Attributes::default().text(KIND, name);
    if let Some(options) = options {
        attributes = attributes.nest(OPTIONS, options);
    }
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let len = u32::try_from(36 + attributes.as_bytes().len()).unwrap_or(u32::MAX);
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(index.to_ne_bytes());
    words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    bytes.extend(attributes.as_bytes());
    bytes
}
