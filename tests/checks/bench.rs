//! What a check works with: a machine, the orders to the program, and the count of what fired.

use std::cell::Cell;
use std::fmt;

use berth_tests::orders::Orders;
use berth_tests::{Finished, Running, TestHost};

/// `Err` says how the defence did not hold. Whatever else goes wrong is a panic.
pub(crate) type Outcome = Result<(), String>;

/// A check, and the defence without which it has to fail.
pub(crate) struct Check {
    /// Its row in the list of checks.
    pub(crate) id: &'static str,
    /// What is tried.
    pub(crate) what: &'static str,
    /// The defence.
    pub(crate) without: &'static str,
    /// Where it holds processes.
    pub(crate) places: &'static [&'static str],
    /// The check.
    pub(crate) run: fn(&Bench) -> Outcome,
}

/// The program that a check runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As it is released: attacks on a moment run freely.
    Plain,
    /// With all its defences, and places where it is held for the attack.
    Held,
    /// Without the one.
    Sabotaged,
}

impl Build {
    pub(crate) const ALL: [Build; 3] = [Build::Plain, Build::Held, Build::Sabotaged];
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Build::Plain => "plain",
            Build::Held => "held",
            Build::Sabotaged => "sabotaged",
        })
    }
}

/// A machine with the program of one build on it.
pub(crate) struct Bench {
    pub(crate) host: TestHost,
    orders: Option<Orders>,
    fired: Cell<Option<u32>>,
}

impl Bench {
    /// A new machine. Without orders the program is the plain one.
    pub(crate) fn new(orders: Option<Orders>) -> Bench {
        Bench { host: TestHost::bare(), orders, fired: Cell::new(None) }
    }

    /// Writes the stack.
    pub(crate) fn stack(&self, text: &str) {
        self.host.write("compose.yaml", text);
    }

    /// Counts attempts of an attack that the check makes itself.
    pub(crate) fn fired(&self, times: usize) {
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.fired.set(Some(self.fired.get().unwrap_or(0).saturating_add(times)));
    }

    /// Those attempts; `None` when the check counts none.
    pub(crate) fn attempts(&self) -> Option<u32> {
        self.fired.get()
    }

    /// How often the orders of these names had their effect.
    pub(crate) fn reached(&self, name: &str) -> u32 {
        self.orders.as_ref().map_or(0, |orders| orders.reached(name))
    }

    /// Attacks at the moment when what `start` starts comes to `place`. The plain program cannot be
    /// held, so there the attack comes when it comes.
    pub(crate) fn at(
        &self,
        place: &str,
        start: impl FnOnce() -> Running,
        attack: impl FnOnce(),
    ) -> Finished {
        self.at_time(place, 1, start, attack)
    }

    /// The same, when it comes to `place` for the n-th time.
    pub(crate) fn at_time(
        &self,
        place: &str,
        time: u32,
        start: impl FnOnce() -> Running,
        attack: impl FnOnce(),
    ) -> Finished {
        let Some(orders) = &self.orders else {
            let running = start();
            attack();
            return running.ends();
        };
        orders.give_from(place, time);
        let running = start();
        orders.wait_for(place);
        attack();
        orders.take_back(place);
        running.ends()
    }

    /// Whether moments can be forced.
    pub(crate) fn is_plain(&self) -> bool {
        self.orders.is_none()
    }
}

/// Leaves the check when this does not hold.
macro_rules! holds {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+));
        }
    };
}
pub(crate) use holds;
