//! Orders to a build of berth whose defences can be taken away: which, and who is held where.
//!
//! The other end is `runtime/src/sabotage.rs`, where the layout of the file is told.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SIZE: u64 = 8192;
const SLOT: u64 = 64;
const NAME: usize = 48;
const ORDER: u64 = 48;
const REACHED: u64 = 52;
const HELD: u64 = 56;

/// A file of orders that processes share.
#[derive(Debug)]
pub struct Orders {
    file: File,
    names: Vec<&'static str>,
}

impl Orders {
    /// A new file, in which nothing is ordered.
    ///
    /// # Panics
    /// When it cannot be written, or the names do not fit into it.
    pub fn create(path: &Path, names: &[&'static str]) -> Orders {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path).expect("a file of orders");
        file.set_len(SIZE).expect("room for orders");
        assert!(names.len() as u64 <= SIZE / SLOT, "too many names");
        for (index, name) in names.iter().enumerate() {
            assert!(name.len() < NAME, "{name} is too long");
            file.write_all_at(name.as_bytes(), index as u64 * SLOT).expect("a name of an order");
        }
        Orders { file, names: names.to_vec() }
    }

    /// From now on this defence is missing, or who comes to this place is held.
    pub fn give(&self, name: &str) {
        self.put(name, 1);
    }

    /// Who comes to this place is held from the n-th time on.
    pub fn give_from(&self, name: &str, time: u32) {
        self.put(name, time);
    }

    /// No longer.
    pub fn take_back(&self, name: &str) {
        self.put(name, 0);
    }

    /// How often the place was reached, or the missing defence asked for.
    pub fn reached(&self, name: &str) -> u32 {
        self.get(name, REACHED)
    }

    /// Waits until somebody is held at this place.
    ///
    /// # Panics
    /// When nobody comes for 20 s.
    pub fn wait_for(&self, name: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.get(name, HELD) == 0 {
            assert!(Instant::now() < end, "nobody comes to `{name}`");
            sleep(Duration::from_millis(1));
        }
    }

    fn slot(&self, name: &str) -> u64 {
        let index = self.names.iter().position(|known| *known == name);
        index.unwrap_or_else(|| panic!("no order is called `{name}`")) as u64 * SLOT
    }

    fn put(&self, name: &str, order: u32) {
        let at = self.slot(name) + ORDER;
        self.file.write_all_at(&order.to_le_bytes(), at).expect("an order");
    }

    fn get(&self, name: &str, field: u64) -> u32 {
        let mut bytes = [0; 4];
        self.file.read_exact_at(&mut bytes, self.slot(name) + field).expect("an order");
        u32::from_le_bytes(bytes)
    }
}
