//! Defences that can be taken away one at a time, and places where a process can be held.
//!
//! Only in a build with the feature `sabotage`, which is never released: a check of a defence
//! has teeth when it fails without that defence, and an attack on a moment between two steps is
//! proven when it is forced there. Without the feature both words below are nothing at all, and a
//! test finds none of their names in the program.
//!
//! The orders come from outside, in a file that `BERTH_SABOTAGE` names and every process of berth
//! shares as memory, whichever namespaces it is in and whatever it has closed. The file is slots of
//! 64 bytes: 48 of a name, then four numbers of 32 bits: the order (1 takes the defence away, or
//! holds; n holds from the n-th time on), how often the place was reached, who is held there now, and nothing.

/// `defence!("name", defended, naive)` is `defended`, or `naive` where that defence is taken away.
#[cfg(feature = "sabotage")]
macro_rules! defence {
    ($name:literal, $defended:expr, $naive:expr) => {
        if $crate::sabotage::is_removed($name) { $naive } else { $defended }
    };
}

/// `defence!("name", defended, naive)` is `defended`.
#[cfg(not(feature = "sabotage"))]
macro_rules! defence {
    ($name:literal, $defended:expr, $naive:expr) => {
        $defended
    };
}

/// `without!("name", naive)` does what is done only where that defence is taken away.
#[cfg(feature = "sabotage")]
macro_rules! without {
    ($name:literal, $naive:expr) => {
        if $crate::sabotage::is_removed($name) {
            $naive;
        }
    };
}

/// `without!("name", naive)` is nothing.
#[cfg(not(feature = "sabotage"))]
macro_rules! without {
    ($name:literal, $naive:expr) => {};
}

/// `place!("name")` is where a process can be held.
#[cfg(feature = "sabotage")]
macro_rules! place {
    ($name:literal) => {
        $crate::sabotage::reach($name)
    };
}

/// `place!("name")` is nothing.
#[cfg(not(feature = "sabotage"))]
macro_rules! place {
    ($name:literal) => {};
}

#[cfg(feature = "sabotage")]
pub(crate) mod naive;

pub(crate) use {defence, place, without};

#[cfg(feature = "sabotage")]
pub use orders::ask;
#[cfg(feature = "sabotage")]
pub(crate) use orders::{is_removed, reach};
pub(crate) use orders::{passed_on, read};

/// Nobody gives orders.
#[cfg(not(feature = "sabotage"))]
mod orders {
    /// Finds the orders, before the way to them is lost.
    pub(crate) fn read() {}

    /// What a process has to find in its environment.
    pub(crate) fn passed_on() -> Option<(&'static str, std::ffi::OsString)> {
        None
    }
}

#[cfg(feature = "sabotage")]
mod orders {
    use std::ffi::OsString;
    use std::fs::File;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use crate::sys;

    const VARIABLE: &str = "BERTH_SABOTAGE";
    /// Numbers in the file, and in a slot of it.
    const ALL: usize = 2048;
    const SLOT: usize = 16;
    /// Where in a slot what is.
    const NAME: usize = 12;
    const ORDER: usize = 12;
    const REACHED: usize = 13;
    const HELD: usize = 14;
    /// Nobody is held for longer: 60 s.
    const LONGEST: u32 = 60_000;

    /// Finds the orders, before the way to them is lost.
    pub(crate) fn read() {
        slots();
    }

    /// What a process has to find in its environment.
    pub(crate) fn passed_on() -> Option<(&'static str, OsString)> {
        Some((VARIABLE, std::env::var_os(VARIABLE)?))
    }

    /// Whether this defence is taken away; counts the question if it is.
    pub(crate) fn is_removed(name: &str) -> bool {
        let Some(slot) = slot(name) else { return false };
        let removed = slot[ORDER].load(Ordering::SeqCst) == 1;
        if removed {
            slot[REACHED].fetch_add(1, Ordering::SeqCst);
        }
        removed
    }

    /// The same for the program above this crate.
    pub fn ask(name: &str) -> bool {
        is_removed(name)
    }

    /// Counts that this place was reached, and waits while it is held.
    pub(crate) fn reach(name: &str) {
        let Some(slot) = slot(name) else { return };
        let time = slot[REACHED].fetch_add(1, Ordering::SeqCst) + 1;
        slot[HELD].fetch_add(1, Ordering::SeqCst);
        for _ in 0..LONGEST {
            let from = slot[ORDER].load(Ordering::SeqCst);
            if from == 0 || time < from {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        slot[HELD].fetch_sub(1, Ordering::SeqCst);
    }

    fn slot(name: &str) -> Option<&'static [AtomicU32]> {
        let named = |slot: &&[AtomicU32]| {
            let bytes =
                slot[..NAME].iter().flat_map(|word| word.load(Ordering::SeqCst).to_le_bytes());
            bytes.take_while(|byte| *byte != 0).eq(name.bytes())
        };
        slots().chunks_exact(SLOT).find(named)
    }

    fn slots() -> &'static [AtomicU32] {
        static SLOTS: OnceLock<&'static [AtomicU32]> = OnceLock::new();
        SLOTS.get_or_init(|| {
            let path = std::env::var_os(VARIABLE);
            let file = path.and_then(|path| File::options().read(true).write(true).open(path).ok());
            file.and_then(|file| sys::shared_words(&file, ALL).ok()).unwrap_or_default()
        })
    }
}
