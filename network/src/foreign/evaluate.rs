//! Walking a packet through one base chain, as the kernel does.
//!
//! Where it is not known whether a rule holds, both ways are followed, and what they come to is
//! told with the doubt. So the answer is right for every packet that fits the description.

use super::expression::{Bits, Compare, Expression, Lookup, Source, Verdict};
use super::packet::Packet;
use super::register::{Byte, Doubt, Truth, between, equal, known, open, whole};
use super::ruleset::{Chain, Rule, Ruleset};
use super::{sets, xtables};

/// Rules that are looked at for one packet at one base chain, at most.
const STEPS: usize = 200_000;
/// Jumps within jumps (`NFT_JUMP_STACK_SIZE`), with room to spare.
const DEPTH: usize = 32;

/// What becomes of a packet at a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Dropped,
    Rejected,
    /// It is sent somewhere else.
    Elsewhere,
    /// A program decides.
    Queued,
}

/// One thing that may become of it, and what makes it so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome<'a> {
    pub(super) fate: Fate,
    pub(super) chain: &'a Chain,
    /// The rule's place in its chain; `None` is the policy.
    pub(super) rule: Option<usize>,
    /// Why it is not for sure.
    pub(super) doubt: Option<Doubt>,
}

/// Everything that may become of `packet` at a base chain. What rules write on it stays.
pub(super) fn outcomes<'a>(
    ruleset: &'a Ruleset,
    base: &'a Chain,
    packet: &mut Packet,
) -> Vec<Outcome<'a>> {
    let mut walk = Walk { ruleset, packet, outcomes: Vec::new(), steps: 0 };
    if let Way::GoesOn(doubt) = walk.chain(base, 0, None) {
        let drops = base.base.as_ref().is_some_and(|base| base.drops);
        let fate = if drops { Fate::Dropped } else { Fate::Passes };
        walk.outcomes.push(Outcome { fate, chain: base, rule: None, doubt });
    }
    walk.outcomes
}

/// What a rule says of the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    Verdict(Verdict),
    Fate(Fate),
}

/// Whether the packet comes to what follows a chain.
enum Way {
    Ends,
    GoesOn(Option<Doubt>),
}

struct Walk<'a, 'p> {
    ruleset: &'a Ruleset,
    packet: &'p mut Packet,
    outcomes: Vec<Outcome<'a>>,
    steps: usize,
}

/// Sixteen registers of four bytes.
type Registers = [Byte; 64];

impl<'a> Walk<'a, '_> {
    /// Follows a chain; `doubt` is why the packet may not come here at all.
    fn chain(&mut self, chain: &'a Chain, depth: usize, doubt: Option<Doubt>) -> Way {
        let before = self.outcomes.len();
        let mut now = doubt;
        let mut may_return = false;
        for (place, rule) in chain.rules.iter().enumerate() {
            self.steps += 1;
            if self.steps > STEPS {
                self.end(Fate::Dropped, chain, place, Some(Doubt::Unknown));
                break;
            }
            for (truth, says) in self.rule(chain, rule) {
                let perhaps = match truth {
                    Truth::No => continue,
                    Truth::Yes => None,
                    Truth::Maybe(doubt) => Some(doubt),
                };
                let here = now.max(perhaps);
                let ends = match says {
                    Says::Verdict(Verdict::Continue | Verdict::Break) => continue,
                    Says::Verdict(Verdict::Return) => {
                        may_return = true;
                        true
                    }
                    Says::Verdict(Verdict::Jump(ref to) | Verdict::Goto(ref to)) => {
                        let count = self.outcomes.len();
                        let way = self.to((chain, place), to, depth, here);
                        let goes = matches!(says, Says::Verdict(Verdict::Goto(_)));
                        let came_back = matches!(way, Way::GoesOn(_));
                        may_return |= goes && came_back;
                        if self.outcomes.len() == count && !goes {
                            // Nothing became of it there: it is as if it had not been.
                            continue;
                        }
                        if let Way::GoesOn(rest) = way {
                            now = now.max(rest);
                        }
                        goes || !came_back
                    }
                    Says::Verdict(Verdict::Accept) => self.end(Fate::Passes, chain, place, here),
                    Says::Verdict(Verdict::Drop) => self.end(Fate::Dropped, chain, place, here),
                    Says::Verdict(Verdict::Queue) => self.end(Fate::Queued, chain, place, here),
                    Says::Fate(fate) => self.end(fate, chain, place, here),
                };
                if ends && perhaps.is_none() {
                    return self.way(before, doubt, now, may_return);
                }
                now = now.max(perhaps);
            }
        }
        self.way(before, doubt, now, true)
    }

    /// The way after a chain. Where nothing became of the packet, nothing new is in doubt.
    fn way(&self, before: usize, doubt: Option<Doubt>, now: Option<Doubt>, returns: bool) -> Way {
        match returns {
            false => Way::Ends,
            true if self.outcomes.len() == before => Way::GoesOn(doubt),
            true => Way::GoesOn(now),
        }
    }

    fn end(&mut self, fate: Fate, chain: &'a Chain, rule: usize, doubt: Option<Doubt>) -> bool {
        self.outcomes.push(Outcome { fate, chain, rule: Some(rule), doubt });
        true
    }

    /// Follows a jump.
    fn to(
        &mut self,
        (from, rule): (&'a Chain, usize),
        name: &str,
        depth: usize,
        doubt: Option<Doubt>,
    ) -> Way {
        match self.ruleset.chain(&from.table, name) {
            Some(chain) if depth < DEPTH => self.chain(chain, depth + 1, doubt),
            // The kernel has no such rules; they changed while they were read.
            _ => {
                self.end(Fate::Dropped, from, rule, Some(Doubt::Unknown));
                Way::GoesOn(Some(Doubt::Unknown))
            }
        }
    }

    /// What a rule says, for each way it may be understood. Empty: nothing, the next one follows.
    fn rule(&mut self, chain: &Chain, rule: &Rule) -> Vec<(Truth, Says)> {
        let mut registers: Registers = [Byte::Open(Doubt::Unknown); 64];
        let mut truth = Truth::Yes;
        for expression in &rule.expressions {
            let (holds, says) = self.expression(chain, expression, &mut registers, truth);
            truth = truth.and(holds);
            if truth == Truth::No {
                return Vec::new();
            }
            if !says.is_empty() {
                let perhaps = |(each, says): (Truth, Says)| (truth.and(each), says);
                return says.into_iter().map(perhaps).collect();
            }
        }
        Vec::new()
    }

    fn expression(
        &mut self,
        chain: &Chain,
        expression: &Expression,
        registers: &mut Registers,
        so_far: Truth,
    ) -> (Truth, Vec<(Truth, Says)>) {
        let says = |says: Says| (Truth::Yes, vec![(Truth::Yes, says)]);
        let holds = |truth: Truth| (truth, Vec::new());
        match expression {
            Expression::Load { source, to } => holds(self.load(*source, *to, registers)),
            Expression::Immediate { to, value } => {
                write(registers, *to, &known(value));
                holds(Truth::Yes)
            }
            Expression::Verdict(verdict) => says(Says::Verdict(verdict.clone())),
            Expression::Compare { from, how, with } => {
                holds(compare(read(registers, *from, with.len()), *how, with))
            }
            Expression::Range { from, inside, first, last } => {
                let value = read(registers, *from, first.len());
                holds(between(value, first, last).inverted(!inside))
            }
            Expression::Bitwise { from, to, len, bits } => {
                let value = masked(read(registers, *from, *len), bits);
                write(registers, *to, &value);
                holds(Truth::Yes)
            }
            Expression::ByteOrder { from, to, len, size } => {
                let value = swapped(read(registers, *from, *len), *size);
                write(registers, *to, &value);
                holds(Truth::Yes)
            }
            Expression::Lookup(lookup) => self.look_up(chain, lookup, registers),
            Expression::SetMark { from } => {
                let mark = whole(read(registers, *from, 4)).map(|bytes| number(&bytes));
                self.set_mark(mark, so_far);
                holds(Truth::Yes)
            }
            Expression::Effect(_) => holds(Truth::Yes),
            Expression::Reject(_) => says(Says::Fate(Fate::Rejected)),
            Expression::Elsewhere(_) => says(Says::Fate(Fate::Elsewhere)),
            Expression::Masquerade(_) => says(Says::Verdict(Verdict::Accept)),
            Expression::Limited(_) => holds(Truth::Maybe(Doubt::Rate)),
            Expression::Match { name, revision, info } => {
                holds(xtables::holds(self.packet, name, *revision, info))
            }
            Expression::Target { name, revision, info } => {
                match xtables::does(name, *revision, info) {
                    xtables::Does::Says(what) => says(what),
                    xtables::Does::Marks { mask, value } => {
                        let mark = self.packet.mark.map(|mark| (mark & !mask) ^ value);
                        self.set_mark(mark, so_far);
                        holds(Truth::Yes)
                    }
                    xtables::Does::Nothing => holds(Truth::Yes),
                    // Whether it ends the packet's way is not known.
                    xtables::Does::Unknown => {
                        let perhaps = Truth::Maybe(Doubt::Unknown);
                        (Truth::Yes, vec![(perhaps, Says::Verdict(Verdict::Drop))])
                    }
                }
            }
            Expression::Unknown(_) => {
                *registers = [Byte::Open(Doubt::Unknown); 64];
                holds(Truth::Maybe(Doubt::Unknown))
            }
        }
    }

    fn load(&self, source: Source, to: usize, registers: &mut Registers) -> Truth {
        match self.packet.load(source) {
            Some(mut value) => {
                // The kernel fills what is left of a register.
                value.resize(value.len().next_multiple_of(4), Byte::Known(0));
                write(registers, to, &value);
                Truth::Yes
            }
            None => Truth::No,
        }
    }

    fn look_up(
        &self,
        chain: &Chain,
        lookup: &Lookup,
        registers: &mut Registers,
    ) -> (Truth, Vec<(Truth, Says)>) {
        let key = (chain.table.clone(), lookup.set.clone());
        let Some(set) = self.ruleset.sets.get(&key) else {
            return (Truth::Maybe(Doubt::Unknown), Vec::new());
        };
        let (any, found) = sets::find(set, read(registers, lookup.from, 64));
        if lookup.verdicts {
            let says = found.into_iter().filter_map(|(truth, member)| {
                member.verdict.clone().map(|verdict| (truth, Says::Verdict(verdict)))
            });
            return (any, says.collect());
        }
        if let Some(to) = lookup.to {
            match found.as_slice() {
                [(Truth::Yes, only)] if only.value.is_some() => {
                    write(registers, to, &known(only.value.as_deref().unwrap_or_default()));
                }
                _ => write(registers, to, &open(16, Doubt::Unknown)),
            }
        }
        (any.inverted(!lookup.inside), Vec::new())
    }

    /// A mark that is only perhaps written is not known any more.
    fn set_mark(&mut self, mark: Result<u32, Doubt>, holds: Truth) {
        self.packet.mark = match holds {
            Truth::Yes => mark,
            Truth::No => self.packet.mark,
            Truth::Maybe(_) if self.packet.mark == mark => mark,
            Truth::Maybe(doubt) => Err(doubt),
        };
    }
}

/// What is in registers from a place on, as much as there is.
fn read(registers: &Registers, from: usize, len: usize) -> &[Byte] {
    let end = from.saturating_add(len).min(registers.len());
    registers.get(from..end).unwrap_or_default()
}

fn write(registers: &mut Registers, to: usize, value: &[Byte]) {
    for (slot, byte) in registers.iter_mut().skip(to).zip(value) {
        *slot = *byte;
    }
}

fn compare(value: &[Byte], how: Compare, with: &[u8]) -> Truth {
    let least = vec![0; with.len()];
    match how {
        Compare::Equal => equal(value, with),
        Compare::Different => equal(value, with).not(),
        Compare::LessOrEqual => between(value, &least, with),
        Compare::Greater => between(value, &least, with).not(),
        Compare::Less => between(value, &least, with).and(equal(value, with).not()),
        Compare::GreaterOrEqual => between(value, &least, with).not().or(equal(value, with)),
    }
}

/// What is masked away is known, whatever it was.
fn masked(value: &[Byte], bits: &Bits) -> Vec<Byte> {
    let Bits::Mask { mask, xor } = bits else {
        return open(value.len(), Doubt::Unknown);
    };
    let bit = |at: usize, of: &[u8]| of.get(at).copied().unwrap_or(0);
    let one = |(at, byte): (usize, &Byte)| match (byte, bit(at, mask)) {
        (Byte::Known(byte), mask) => Byte::Known((byte & mask) ^ bit(at, xor)),
        (Byte::Open(_), 0) => Byte::Known(bit(at, xor)),
        (Byte::Open(doubt), _) => Byte::Open(*doubt),
    };
    value.iter().enumerate().map(one).collect()
}

/// Numbers of host order as big endian, or back: the same on every machine.
fn swapped(value: &[Byte], size: usize) -> Vec<Byte> {
    if cfg!(target_endian = "big") || !matches!(size, 2 | 4 | 8) {
        return value.to_vec();
    }
    value.chunks(size).flat_map(|number| number.iter().rev().copied()).collect()
}

/// A number of host order.
fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}
