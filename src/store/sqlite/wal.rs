//! Looks at the write-ahead log before SQLite does.
//!
//! SQLite takes a frame that does not match its checksum for the torn end of a transaction that was
//! never acknowledged, and silently forgets it and all that follows. After a crash that is right. When
//! the frame is damaged in the middle of the file, acknowledged events would vanish without a word.
//!
//! The two can be told apart. The writer syncs each commit before it begins the next transaction, never
//! writes frames ahead of a commit, and starts with an empty write-ahead log each time the store is
//! opened. So all frames with the current salts are whole transactions in a row, and only the last may
//! be torn: a bad frame at or before a commit frame that has successors is damage. Damage within the
//! last transaction alone looks the same as a torn one and cannot be told apart from this file.
//!
//! Format: <https://www.sqlite.org/fileformat2.html#walformat>. This module only reads.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Checksums read the file as little-endian words; the other magic number means big-endian.
const MAGIC_LITTLE_ENDIAN: u32 = 0x377f_0682;
const MAGIC_BIG_ENDIAN: u32 = 0x377f_0683;

/// What is wrong with the file, if SQLite would silently lose acknowledged events from it.
pub(super) fn damage(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The header is synced before the first frame is written, so a file without a frame may be torn.
    if file.metadata()?.len() <= HEADER_BYTES as u64 {
        return Ok(None);
    }
    damage_in(&mut BufReader::with_capacity(1 << 18, file))
}

fn damage_in(file: &mut impl Read) -> io::Result<Option<String>> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    let mut sums = Sums { values: (0, 0), little_endian: word(&header, 0) == MAGIC_LITTLE_ENDIAN };
    sums.add(&header[..24]);
    let known = matches!(word(&header, 0), MAGIC_LITTLE_ENDIAN | MAGIC_BIG_ENDIAN);
    if !known || sums.values != (word(&header, 24), word(&header, 28)) {
        return Ok(Some("the header of the write-ahead log does not match its checksum".to_owned()));
    }
    let page_bytes = word(&header, 8) as usize;
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut number = 0_u64;
    let mut bad = None;
    let mut commit_after_bad = false;
    while whole(file, &mut frame)? {
        number += 1;
        let current = frame[8..16] == header[16..24];
        if bad.is_none() {
            sums.add(&frame[..8]);
            sums.add(&frame[FRAME_HEADER_BYTES..]);
            if current && sums.values == (word(&frame, 16), word(&frame, 20)) {
                continue;
            }
            bad = Some(number);
        }
        if current && commit_after_bad {
            let bad = bad.unwrap_or(number);
            return Ok(Some(format!("frame {bad} of the write-ahead log does not match its checksum")));
        }
        commit_after_bad |= current && word(&frame, 4) != 0;
    }
    Ok(None)
}

/// Fills the buffer; false when the file ends first.
fn whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(word)
}

/// The running checksum over header and frames.
struct Sums {
    values: (u32, u32),
    little_endian: bool,
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let (mut s0, mut s1) = self.values;
        let (pairs, _) = bytes.as_chunks::<8>();
        for &[a, b, c, d, e, f, g, h] in pairs {
            let (x0, x1) = ([a, b, c, d], [e, f, g, h]);
            let (x0, x1) = if self.little_endian {
                (u32::from_le_bytes(x0), u32::from_le_bytes(x1))
            } else {
                (u32::from_be_bytes(x0), u32::from_be_bytes(x1))
            };
            s0 = s0.wrapping_add(x0).wrapping_add(s1);
            s1 = s1.wrapping_add(x1).wrapping_add(s0);
        }
        self.values = (s0, s1);
    }
}
