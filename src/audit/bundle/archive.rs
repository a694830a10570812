//! The archive: files in a row in the `ustar` format (POSIX.1-1988), which every `tar` unpacks.
//!
//! Invariant: an archive has one spelling. Name and contents of a file determine every byte of its header, the
//! padding is zeros, and two blocks of zeros end the archive. The reader makes each header anew and compares, so a
//! changed byte is found wherever it is, and what a reader of names could be tricked with (links, absolute paths,
//! other formats' extensions) cannot be written in this form at all.

use std::io::{self, ErrorKind, Read};

use tar::{EntryType, Header};

use super::super::verdict::{Check, Fault};

/// What an archive is made of.
pub const BLOCK: usize = 512;
/// The longest name of a file: what the format holds in one field.
pub const MAX_NAME: usize = 100;
/// The largest file that anything but the manifest needs.
pub const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Bytes that are read at once.
const PIECE: usize = 64 * 1024;

/// Whether a name leads nowhere but into the directory that an archive is unpacked in.
fn is_plain(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= MAX_NAME
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(fine))
}

/// The header of a file. Nothing in it depends on who made it, or when.
fn header(name: &str, size: u64) -> Option<[u8; BLOCK]> {
    if !is_plain(name) {
        return None;
    }
    let mut header = Header::new_ustar();
    header.as_ustar_mut()?.name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Some(*header.as_bytes())
}

fn padding(size: u64) -> usize {
    // Below the size of a block.
    usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)
}

/// Appends a file to an archive in memory. Names are this program's own.
pub fn write(name: &str, contents: &[u8], out: &mut Vec<u8>) {
    let size = contents.len() as u64;
    debug_assert!(is_plain(name), "{name}");
    if let Some(header) = header(name, size) {
        out.extend_from_slice(&header);
        out.extend_from_slice(contents);
        out.resize(out.len() + padding(size), 0);
    }
}

/// Ends an archive.
pub fn end(out: &mut Vec<u8>) {
    out.resize(out.len() + 2 * BLOCK, 0);
}

fn wrong(what: impl Into<String>) -> Stopped {
    Stopped::Fault(Fault::new(Check::Archive, what))
}

/// Why reading stopped.
#[derive(Debug)]
pub enum Stopped {
    /// Something does not hold.
    Fault(Fault),
    /// The archive cannot be read: that says nothing about it.
    Io(io::Error),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads an archive from somebody who may want to do harm.
pub struct Reader<R> {
    input: R,
    at: u64,
    /// What is left of the current file, and the padding behind it.
    left: u64,
    padding: usize,
}

impl<R: Read> Reader<R> {
    /// From its first byte.
    pub const fn new(input: R) -> Self {
        Self { input, at: 0, left: 0, padding: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Name and size of the next file; none at the end, which is then known to be the end.
    pub fn next_file(&mut self) -> Result<Option<(String, u64)>, Stopped> {
        while self.left > 0 {
            let mut rest = [0; 4096];
            self.read(&mut rest)?;
        }
        let mut zeros = [0; BLOCK];
        let length = std::mem::take(&mut self.padding);
        self.exactly(&mut zeros[..length])?;
        if zeros.iter().any(|byte| *byte != 0) {
            return Err(wrong(format!("byte {}: padding that is not zero", self.at)));
        }
        let start = self.at;
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        if block == [0; BLOCK] {
            return self.expect_end(start).map(|()| None);
        }
        let (name, size) = Self::name_and_size(&block)
            .ok_or_else(|| wrong(format!("byte {start}: no header of a file of such an archive")))?;
        if header(&name, size) != Some(block) {
            return Err(wrong(format!("byte {start}: the header is not the one that this file has")));
        }
        self.left = size;
        self.padding = padding(size);
        Ok(Some((name, size)))
    }

    fn name_and_size(block: &[u8; BLOCK]) -> Option<(String, u64)> {
        let end = block[..MAX_NAME].iter().position(|byte| *byte == 0).unwrap_or(MAX_NAME);
        let name = std::str::from_utf8(&block[..end]).ok().filter(|name| is_plain(name))?;
        let size = block[124..135].iter().try_fold(0_u64, |size, digit| match digit {
            b'0'..=b'7' => Some(size << 3 | u64::from(digit - b'0')),
            _ => None,
        })?;
        Some((name.to_owned(), size))
    }

    fn expect_end(&mut self, start: u64) -> Result<(), Stopped> {
        let mut block = [0; BLOCK];
        self.exactly(&mut block)?;
        if block != [0; BLOCK] {
            return Err(wrong(format!("byte {start}: one block of zeros, where two end the archive")));
        }
        let mut one = [0];
        match self.fill(&mut one)? {
            0 => Ok(()),
            _ => Err(wrong(format!("byte {}: something stands behind the end of the archive", self.at - 1))),
        }
    }

    /// More of the current file; none of it when it has been read.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, Stopped> {
        let most = usize::try_from(self.left).map_or(out.len(), |left| left.min(out.len()));
        self.exactly(&mut out[..most])?;
        self.left -= most as u64;
        Ok(most)
    }

    /// The rest of the current file, which is refused when it is larger than `limit`.
    pub fn contents(&mut self, limit: u64, out: &mut Vec<u8>) -> Result<(), Stopped> {
        out.clear();
        if self.left > limit {
            return Err(wrong(format!("byte {}: the file has more than {limit} bytes", self.at)));
        }
        // What is announced may not come, so memory is taken as it comes.
        while self.left > 0 {
            let start = out.len();
            let piece = self.left.min(PIECE as u64);
            out.resize(start + usize::try_from(piece).unwrap_or(PIECE), 0);
            self.read(&mut out[start..])?;
        }
        Ok(())
    }

    fn exactly(&mut self, out: &mut [u8]) -> Result<(), Stopped> {
        if self.fill(out)? < out.len() {
            return Err(wrong(format!("it is cut off after byte {}", self.at)));
        }
        Ok(())
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<usize, Stopped> {
        let mut filled = 0;
        while filled < out.len() {
            match self.input.read(&mut out[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Stopped::Io(error)),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, contents) in files {
            write(name, contents, &mut out);
        }
        end(&mut out);
        out
    }

    /// All files, or what is wrong.
    fn read(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut reader = Reader::new(bytes);
        let mut files = Vec::new();
        let told = |stopped| match stopped {
            Stopped::Fault(fault) => fault.to_string(),
            Stopped::Io(error) => error.to_string(),
        };
        while let Some((name, _)) = reader.next_file().map_err(told)? {
            let mut contents = Vec::new();
            reader.contents(MAX_FILE, &mut contents).map_err(told)?;
            files.push((name, contents));
        }
        Ok(files)
    }

    #[test]
    fn what_is_written_is_read() {
        let block = [7; BLOCK];
        let files: [(&str, &[u8]); 4] =
            [("a", b""), ("dir/b.txt", b"text"), ("c", &block), (&"n".repeat(MAX_NAME), b"x")];
        let found = read(&archive(&files)).unwrap();
        assert_eq!(found.len(), 4);
        for ((name, contents), (expected, bytes)) in found.iter().zip(files) {
            assert_eq!((name.as_str(), contents.as_slice()), (expected, bytes));
        }
        assert_eq!(read(&archive(&[])).unwrap(), vec![]);
    }

    #[test]
    fn the_program_tar_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        std::fs::write(&path, archive(&[("a.txt", b"one\n"), ("tile/0/x001/000", b"two\n")])).unwrap();
        let run = |args: &[&str]| {
            let output = std::process::Command::new("tar").args(args).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(run(&["tf", path.to_str().unwrap()]), "a.txt\ntile/0/x001/000\n");
        run(&["xf", path.to_str().unwrap(), "-C", directory.path().to_str().unwrap()]);
        assert_eq!(std::fs::read(directory.path().join("tile/0/x001/000")).unwrap(), b"two\n");
    }

    #[test]
    fn every_changed_bit_outside_of_contents_is_found() {
        let contents = b"some contents";
        let good = archive(&[("a", contents), ("b/c", b"")]);
        for at in (0..good.len()).filter(|at| !(BLOCK..BLOCK + contents.len()).contains(at)) {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                // Another name is not the archive's business, but then the checksum is wrong.
                assert!(read(&bad).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn cut_off_or_gone_on_with_it_is_refused() {
        let good = archive(&[("a", b"some contents")]);
        for length in 0..good.len() {
            assert!(read(&good[..length]).is_err(), "{length}");
        }
        for more in [&[0_u8][..], &[0; 512], &[1], &good] {
            assert!(read(&[&good, more].concat()).is_err());
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let good = archive(&[("aaaaaaaaaaaa", b"")]);
        for name in [
            "/etc/passwd",
            "../aaaaaaaa",
            "a/../../a",
            "./a",
            "a//a",
            "a/",
            ".",
            "a/.b",
            "a b",
            "a\nb",
            "\u{e4}",
        ] {
            let mut bad = good.clone();
            bad[..12].fill(0);
            bad[..name.len()].copy_from_slice(name.as_bytes());
            let mut header = Header::new_ustar();
            header.as_mut_bytes().copy_from_slice(&bad[..BLOCK]);
            header.set_cksum();
            bad[..BLOCK].copy_from_slice(header.as_bytes());
            assert!(read(&bad).unwrap_err().contains("byte 0"), "{name}");
        }
    }

    #[test]
    fn other_kinds_of_entries_are_refused() {
        let good = archive(&[("a", b"")]);
        for kind in b"123456789LKxg\0" {
            let mut header = Header::new_ustar();
            header.as_mut_bytes().copy_from_slice(&good[..BLOCK]);
            header.as_mut_bytes()[156] = *kind;
            header.set_cksum();
            let bad = [&header.as_bytes()[..], &good[BLOCK..]].concat();
            assert!(read(&bad).is_err(), "{kind}");
        }
    }

    #[test]
    fn an_announced_size_takes_no_memory_and_has_a_limit() {
        let header = header("a", 0o777_7777_7777).unwrap();
        assert!(read(&header).unwrap_err().contains("more than"));
        let header = super::header("a", MAX_FILE).unwrap();
        assert!(read(&header).unwrap_err().contains("cut off"));
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _ = read(&bytes);
        }

        #[test]
        fn nothing_behind_a_good_start_does(
            name in "[a-z/.]{0,12}", size in any::<u64>(), rest in prop::collection::vec(any::<u8>(), 0..2048),
        ) {
            if let Some(header) = header(&name, size % (1 << 33)) {
                let _ = read(&[&header[..], &rest].concat());
            }
        }

        #[test]
        fn an_archive_has_one_spelling(at in 0_usize..4096, to in any::<u8>()) {
            let good = archive(&[("a", b"x"), ("b", &[1; 600]), ("c/d", b"")]);
            let mut bad = good.clone();
            let at = at % bad.len();
            bad[at] = to;
            if let Ok(files) = read(&bad) {
                let again: Vec<(&str, &[u8])> =
                    files.iter().map(|(name, contents)| (name.as_str(), contents.as_slice())).collect();
                prop_assert_eq!(archive(&again), bad);
            }
        }
    }
}
