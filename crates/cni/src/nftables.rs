//! nftables by netlink: one table per owner, replaced in one transaction.
//!
//! Counterpart in Kubernetes: the masquerade rules of kube-proxy and of the CNI plugins.
//!
//! Invariants:
//! - A table is replaced whole, by a batch the kernel takes or refuses as one: there is no moment without rules.
//! - Numbers in attributes are big-endian; attributes are padded to four bytes (`linux/netfilter/nf_tables.h`).

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use crate::cidr::Cidr;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `NFNL_SUBSYS_NFTABLES`, in the high byte of a message's type.
const NFTABLES: u16 = 10;
const NEW_TABLE: u16 = NFTABLES << 8;
const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NF_INET_POST_ROUTING`, and the priority `srcnat` there.
const POST_ROUTING: (u32, i32) = (4, 100);
/// `NFT_RETURN`.
const RETURN: i32 = -5;
/// Where an IPv4 header has its addresses.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

/// Hides the addresses of `source` behind the node's own for everything that does not go to `exempt`.
///
/// # Errors
/// The kernel's error, when it has no nftables or the caller no rights.
pub fn masquerade(table: &str, source: Cidr, exempt: &[Cidr]) -> io::Result<()> {
    let mut batch = Batch::default();
    batch.replace_table(table);
    batch.post_routing_chain(table, "postrouting");
    for range in exempt {
        let rule = [matches(SOURCE, source), matches(DESTINATION, *range), vec![verdict(RETURN)]];
        batch.rule(table, "postrouting", &rule.concat());
    }
    let rule = [matches(SOURCE, source), vec![expression("masq", &[])]];
    batch.rule(table, "postrouting", &rule.concat());
    batch.commit()
}

/// Removes a table and all in it; one that is not there is fine.
///
/// # Errors
/// The kernel's error.
pub fn delete(table: &str) -> io::Result<()> {
    let mut batch = Batch::default();
    batch.message(NEW_TABLE, CREATE, &string(1, table));
    batch.message(DELETE_TABLE, 0, &string(1, table));
    batch.commit()
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    messages: u32,
}

impl Batch {
    /// Adding before deleting makes deleting safe whether or not the table was there.
    fn replace_table(&mut self, table: &str) {
        self.message(NEW_TABLE, CREATE, &string(1, table));
        self.message(DELETE_TABLE, 0, &string(1, table));
        self.message(NEW_TABLE, CREATE, &string(1, table));
    }

    fn post_routing_chain(&mut self, table: &str, chain: &str) {
        let (hook, priority) = POST_ROUTING;
        let hook = [number(1, hook), attribute(2, &priority.to_be_bytes())].concat();
        let parts = [string(1, table), string(3, chain), nested(4, &hook), string(7, "nat")];
        self.message(NEW_CHAIN, CREATE, &parts.concat());
    }

    fn rule(&mut self, table: &str, chain: &str, expressions: &[Vec<u8>]) {
        let list: Vec<u8> = expressions.iter().flat_map(|e| nested(1, e)).collect();
        let parts = [string(1, table), string(2, chain), nested(4, &list)];
        self.message(NEW_RULE, CREATE | APPEND, &parts.concat());
    }

    fn message(&mut self, kind: u16, flags: u16, attributes: &[u8]) {
        self.messages += 1;
        let head = [IPV4, 0, 0, 0];
        push(&mut self.bytes, kind, flags | REQUEST | ACK, self.messages, head, attributes);
    }

    /// Sends the batch and reads one acknowledgement per message.
    fn commit(self) -> io::Result<()> {
        let socket = open()?;
        let head = [0, 0, (NFTABLES >> 8) as u8, NFTABLES as u8];
        let mut bytes = Vec::new();
        push(&mut bytes, BATCH_BEGIN, REQUEST, 0, head, &[]);
        bytes.extend(&self.bytes);
        push(&mut bytes, BATCH_END, REQUEST, self.messages + 1, head, &[]);
        send(&socket, &bytes, SendFlags::empty())?;
        let mut answers = Answers { socket, buffer: vec![0; 64 << 10], unread: 0..0 };
        (0..self.messages).try_for_each(|_| answers.next())
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::NETFILTER))?)
}

struct Answers {
    socket: OwnedFd,
    buffer: Vec<u8>,
    unread: std::ops::Range<usize>,
}

impl Answers {
    /// The next acknowledgement: an error message (type 2) whose code is zero or a negative errno.
    fn next(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            let (length, _) = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())?;
            self.unread = 0..length;
        }
        let message = &self.buffer[self.unread.clone()];
        let cut = || io::Error::other("a netlink answer was cut short");
        let head = message.get(..20).ok_or_else(cut)?;
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let code = i32::from_ne_bytes([head[16], head[17], head[18], head[19]]);
        self.unread.start = (self.unread.start + padded(length)).min(self.unread.end);
        match code {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        }
    }
}

fn push(out: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, head: [u8; 4], body: &[u8]) {
    out.extend((20 + body.len() as u32).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend(head);
    out.extend(body);
}

/// Expressions that hold when an address of the packet is in a range.
fn matches(offset: u32, range: Cidr) -> Vec<Vec<u8>> {
    let load = [number(1, 1), number(2, 1), number(3, offset), number(4, 4)];
    let value = |kind, address: std::net::Ipv4Addr| nested(kind, &attribute(1, &address.octets()));
    let mask = [
        number(1, 1),
        number(2, 1),
        number(3, 4),
        value(4, range.mask()),
        value(5, std::net::Ipv4Addr::UNSPECIFIED),
    ];
    let compare = [number(1, 1), number(2, 0), value(3, range.address)];
    vec![
        expression("payload", &load.concat()),
        expression("bitwise", &mask.concat()),
        expression("cmp", &compare.concat()),
    ]
}

fn verdict(code: i32) -> Vec<u8> {
    let verdict = nested(2, &attribute(1, &code.to_be_bytes()));
    expression("immediate", &[number(1, 0), nested(2, &verdict)].concat())
}

fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    [string(1, name), nested(2, data)].concat()
}

fn string(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

fn number(kind: u16, number: u32) -> Vec<u8> {
    attribute(kind, &number.to_be_bytes())
}

/// `NLA_F_NESTED`.
fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
    attribute(kind | 0x8000, content)
}

fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = 4 + content.len();
    let mut out = Vec::with_capacity(padded(length));
    out.extend((length as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(content);
    out.resize(padded(length), 0);
    out
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}
