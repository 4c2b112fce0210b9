//! Values of which a part may not be known, and comparing them.

/// Why something cannot be said for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// It hangs on who sends the packet.
    Sender,
    /// It hangs on how many came before.
    Rate,
    /// It hangs on what is not understood or not known here.
    Unknown,
}

/// One byte of a packet or a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Byte {
    Known(u8),
    Open(Doubt),
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Maybe(Doubt),
}

impl Truth {
    pub(super) fn of(holds: bool) -> Truth {
        if holds { Truth::Yes } else { Truth::No }
    }

    pub(super) fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Yes, rest) | (rest, Truth::Yes) => rest,
            (Truth::Maybe(a), Truth::Maybe(b)) => Truth::Maybe(a.max(b)),
        }
    }

    pub(super) fn or(self, other: Truth) -> Truth {
        self.not().and(other.not()).not()
    }

    pub(super) fn not(self) -> Truth {
        match self {
            Truth::Yes => Truth::No,
            Truth::No => Truth::Yes,
            maybe @ Truth::Maybe(_) => maybe,
        }
    }

    /// The other way round when `inverted`.
    pub(super) fn inverted(self, inverted: bool) -> Truth {
        if inverted { self.not() } else { self }
    }
}

/// Known bytes.
pub(super) fn known(bytes: &[u8]) -> Vec<Byte> {
    bytes.iter().copied().map(Byte::Known).collect()
}

/// As many bytes that are not known.
pub(super) fn open(len: usize, doubt: Doubt) -> Vec<Byte> {
    vec![Byte::Open(doubt); len]
}

/// The bytes, when every one is known.
pub(super) fn whole(bytes: &[Byte]) -> Result<Vec<u8>, Doubt> {
    bytes
        .iter()
        .map(|byte| match byte {
            Byte::Known(byte) => Ok(*byte),
            Byte::Open(doubt) => Err(*doubt),
        })
        .collect()
}

/// Whether they are the same. One byte that differs is enough for a no.
pub(super) fn equal(bytes: &[Byte], with: &[u8]) -> Truth {
    if bytes.len() < with.len() {
        return Truth::Maybe(Doubt::Unknown);
    }
    let same = |(byte, with): (&Byte, &u8)| match byte {
        Byte::Known(byte) => Truth::of(byte == with),
        Byte::Open(doubt) => Truth::Maybe(*doubt),
    };
    bytes.iter().zip(with).map(same).fold(Truth::Yes, Truth::and)
}

/// Whether they lie between two values, as numbers of big endian.
pub(super) fn between(bytes: &[Byte], first: &[u8], last: &[u8]) -> Truth {
    let len = first.len().min(last.len()).min(bytes.len());
    match whole(&bytes[..len]) {
        Ok(value) => Truth::of(*value >= first[..len] && *value <= last[..len]),
        Err(doubt) => {
            // What is known in front may be enough.
            let front: Vec<u8> = bytes
                .iter()
                .map_while(|byte| match byte {
                    Byte::Known(byte) => Some(*byte),
                    Byte::Open(_) => None,
                })
                .collect();
            let part = front.len().min(len);
            let outside = front[..part] < first[..part] || front[..part] > last[..part];
            if outside { Truth::No } else { Truth::Maybe(doubt) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_byte_that_differs_settles_it() {
        let mut bytes = known(&[10, 0, 0]);
        bytes.push(Byte::Open(Doubt::Sender));

        assert_eq!(equal(&bytes, &[10, 0, 0, 1]), Truth::Maybe(Doubt::Sender));
        assert_eq!(equal(&bytes, &[10, 0, 1, 1]), Truth::No);
        assert_eq!(between(&bytes, &[11, 0, 0, 0], &[12, 0, 0, 0]), Truth::No);
        assert_eq!(between(&bytes, &[9, 0, 0, 0], &[12, 0, 0, 0]), Truth::Maybe(Doubt::Sender));
    }
}
