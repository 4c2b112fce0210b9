//! Files with holes: where their content belongs, in each of the four forms that GNU tar writes.
//!
//! The old form has the map in the header and in blocks after it, PAX 0.0 in pairs of records, 0.1
//! in one record, and 1.0 in decimal lines before the content.

use std::io::Read;

use super::fields::{Records, decimal, numeric, positive};
use super::{BLOCK, Header, Member, Tape, TapeError};

const MAX_SEGMENTS: usize = 1 << 16;

/// A file with holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) size: u64,
    /// Offset and length, ascending.
    pub(crate) segments: Vec<(u64, u64)>,
}

impl<R: Read> Tape<R> {
    /// Finds out where the content of a file belongs, after what is said before the content.
    pub(super) fn find_holes(
        &mut self,
        header: &Header,
        pax: &Records,
        member: &mut Member,
    ) -> Result<(), TapeError> {
        if header.kind() == b'S' {
            let size = positive(header.number(483..495)?)?;
            let segments = self.gnu_segments(header)?;
            member.sparse = Some(Sparse { size, segments });
        } else if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            if let Some(name) = pax.get(b"GNU.sparse.name".as_slice()) {
                member.path.clone_from(name);
            }
            let size = real_size(pax)?;
            let segments = match form(pax)? {
                Form::Lines => self.pax_segments()?,
                Form::Record => record_segments(pax)?,
            };
            member.stored = self.left;
            member.sparse = Some(Sparse { size, segments });
        }
        match &member.sparse {
            Some(sparse) => check_segments(sparse, member.stored),
            None => Ok(()),
        }
    }

    /// The map of GNU's old form: four entries in the header, 21 in each further block.
    fn gnu_segments(&mut self, header: &Header) -> Result<Vec<(u64, u64)>, TapeError> {
        let mut segments = Vec::new();
        let mut blocks = 0;
        let mut add = |block: &[u8]| -> Result<(), TapeError> {
            for entry in block.chunks_exact(24).take_while(|entry| entry[0] != 0) {
                let pair = (positive(numeric(&entry[..12])?)?, positive(numeric(&entry[12..])?)?);
                segments.push(pair);
            }
            blocks += 1;
            if blocks.max(segments.len()) > MAX_SEGMENTS {
                return Err(TapeError::HeadersTooLong);
            }
            Ok(())
        };
        add(&header.bytes[386..482])?;
        let mut more = header.bytes[482] != 0;
        while more {
            let mut block = [0; BLOCK];
            if !self.block(&mut block)? {
                return Err(TapeError::Truncated);
            }
            add(&block[..504])?;
            more = block[504] != 0;
        }
        Ok(segments)
    }

    /// The map of PAX 1.0: decimal lines before the content, filled up to a block.
    fn pax_segments(&mut self) -> Result<Vec<(u64, u64)>, TapeError> {
        let mut numbers = Vec::new();
        let mut wanted = None;
        let mut line = Vec::new();
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block)?;
            for byte in block {
                match byte {
                    b'\n' if wanted.is_none_or(|wanted| numbers.len() < wanted) => {
                        let number = positive(decimal(&line)?)?;
                        line.clear();
                        match wanted {
                            Some(_) => numbers.push(number),
                            None if number > MAX_SEGMENTS as u64 => {
                                return Err(TapeError::HeadersTooLong);
                            }
                            None => {
                                wanted = Some(2 * usize::try_from(number).unwrap_or(MAX_SEGMENTS))
                            }
                        }
                    }
                    byte if line.len() < 24 => line.push(byte),
                    _ if wanted == Some(numbers.len()) => {}
                    _ => return Err(TapeError::Header("a damaged map of a sparse file")),
                }
            }
        }
        Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }
}

/// Where PAX has the map.
enum Form {
    /// 0.0 and 0.1: in the records.
    Record,
    /// 1.0: before the content.
    Lines,
}

fn form(pax: &Records) -> Result<Form, TapeError> {
    let get = |key: &str| pax.get(key.as_bytes()).map(Vec::as_slice);
    match (get("GNU.sparse.major"), get("GNU.sparse.minor"), get("GNU.sparse.map")) {
        (Some(b"1"), Some(b"0"), None) => Ok(Form::Lines),
        // The first forms did not tell their number.
        (None, None, Some(_)) | (Some(b"0"), Some(b"0" | b"1"), _) => Ok(Form::Record),
        _ => Err(TapeError::Header("a sparse file of an unknown form")),
    }
}

fn real_size(pax: &Records) -> Result<u64, TapeError> {
    let get = |key: &str| pax.get(key.as_bytes());
    match (get("GNU.sparse.size"), get("GNU.sparse.realsize")) {
        (Some(size), None) | (None, Some(size)) => positive(decimal(size)?),
        (Some(size), Some(real)) if size == real => positive(decimal(size)?),
        (Some(_), Some(_)) => Err(TapeError::Header("a sparse file of two sizes")),
        (None, None) => Err(TapeError::Header("a sparse file without size")),
    }
}

/// The map of PAX 0.1, `OFFSET,LENGTH,OFFSET,LENGTH`; that of 0.0 was brought into this form.
fn record_segments(pax: &Records) -> Result<Vec<(u64, u64)>, TapeError> {
    let bad = || TapeError::Header("a damaged map of a sparse file");
    let map = pax.get(b"GNU.sparse.map".as_slice()).map_or(&b""[..], Vec::as_slice);
    let numbers = map.split(|&byte| byte == b',').filter(|_| !map.is_empty());
    let numbers =
        numbers.map(|text| positive(decimal(text)?)).collect::<Result<Vec<u64>, TapeError>>()?;
    if let Some(count) = pax.get(b"GNU.sparse.numblocks".as_slice())
        && usize::try_from(decimal(count)?).ok().and_then(|count| count.checked_mul(2))
            != Some(numbers.len())
    {
        return Err(bad());
    }
    match numbers.len() {
        odd if odd % 2 == 1 => Err(bad()),
        many if many > 2 * MAX_SEGMENTS => Err(TapeError::HeadersTooLong),
        _ => Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
    }
}

fn check_segments(sparse: &Sparse, stored: u64) -> Result<(), TapeError> {
    let bad = || TapeError::Header("a damaged map of a sparse file");
    let (mut end, mut sum) = (0_u64, 0_u64);
    for &(offset, length) in &sparse.segments {
        if offset < end {
            return Err(bad());
        }
        end = offset.checked_add(length).ok_or_else(bad)?;
        sum += length;
    }
    if end <= sparse.size && sum == stored { Ok(()) } else { Err(bad()) }
}
