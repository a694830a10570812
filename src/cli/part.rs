//! Files that are written in parts: until one is whole it is called `FILE.part`, and what was cut off is gone on with.
//!
//! Invariant: what stands under the name that was asked for is whole. Going on drops the last line or record of a part
//! if that is not whole, and begins behind the cursor of the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::begun::{self, Asked, Pairs};
use super::{Exit, Failure};

const PIECE: usize = 64 * 1024;

/// How lines of a file tell where they stand.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A line is a row, and this finds its cursor.
    Lines(fn(&[u8]) -> Option<String>),
    /// CSV, where a line end inside quotes ends no record. The cursor is the first cell of a record, and this the
    /// name of its column.
    Records(&'static str),
    /// It cannot be gone on with.
    Whole,
}

/// What is to be written.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The name that it gets once it is whole.
    pub target: &'a Path,
    /// How it can be gone on with.
    pub shape: Shape,
    /// Whether to go on with what is there of it.
    pub resume: bool,
    /// Whether it may take the place of another file.
    pub force: bool,
    /// What it is of.
    pub asked: &'a Asked,
}

/// A part, open where it goes on.
pub struct Part {
    path: PathBuf,
    file: File,
    force: bool,
    /// The parameters of the request that it was begun with.
    sent: Pairs,
    /// The cursor of its last row, if it has one.
    after: Option<String>,
    /// Its rows.
    pub rows: u64,
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn unwritable(file: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "OUTPUT", format!("{file} cannot be written: {error}"))
}

/// Refuses to take the place of a file that is there.
pub fn vacant(target: &Path, force: bool) -> Result<(), Failure> {
    if force || std::fs::symlink_metadata(target).is_err() {
        return Ok(());
    }
    let shown = target.display();
    Err(Failure::usage(format!("{shown} is there already; name another file, or overwrite it with --force")))
}

impl Part {
    /// A new part of a file, or what is whole of an earlier one. Addresses stand in it, so it is for its owner only.
    pub fn open(order: Order<'_>) -> Result<Self, Failure> {
        let Order { target, shape, resume, force, asked } = order;
        vacant(target, force)?;
        let path = part_of(target);
        let shown = path.display().to_string();
        let failed = |error: io::Error| unwritable(&shown, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        if !resume {
            let file = match options.create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let hint = match shape {
                        Shape::Whole => "it cannot be gone on with; delete it, or write to another file",
                        _ => "go on with --resume, or delete it if nothing is needed of it",
                    };
                    return Err(Failure::usage(format!("an earlier export left {shown}: {hint}")));
                }
                opened => opened.map_err(failed)?,
            };
            if !matches!(shape, Shape::Whole) {
                begun::keep(&path, asked).map_err(failed)?;
            }
            return Ok(Self { path, file, force, sent: asked.sent.clone(), after: None, rows: 0 });
        }
        let mut file = options.create(true).truncate(false).open(&path).map_err(failed)?;
        let whole = match shape {
            Shape::Lines(cursor) => whole_lines(&mut BufReader::new(&file), cursor),
            Shape::Records(first) => whole_records(&mut BufReader::new(&file), first),
            Shape::Whole => Ok(Whole::default()),
        };
        let whole = whole.map_err(failed)?;
        // Nothing was begun with an empty one.
        let length = file.metadata().map_err(failed)?.len();
        let sent = if length > 0 {
            begun::recall(&path, asked)?.sent
        } else {
            begun::keep(&path, asked).map_err(failed)?;
            asked.sent.clone()
        };
        file.set_len(whole.bytes).map_err(failed)?;
        file.seek(SeekFrom::Start(whole.bytes)).map_err(failed)?;
        Ok(Self { path, file, force, sent, after: whole.cursor, rows: whole.rows })
    }

    /// The parameters that ask for the rest of it.
    pub fn request(&self) -> Vec<(&str, String)> {
        let mut pairs: Vec<(&str, String)> =
            self.sent.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        if let Some(cursor) = &self.after {
            pairs.push(("after", cursor.clone()));
            pairs.push(("names", "false".to_owned()));
        }
        pairs
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Writes the rest of it to its end. Then it is whole, and gets the name that was asked for. Gives its size.
    pub fn finish(mut self, rest: &mut dyn Read, target: &Path, bar: &Bar) -> Result<u64, Failure> {
        copy(rest, &mut self.file, bar)?;
        let shown = self.name();
        // What stood there before it was gone on with counts, too.
        let size = self.file.sync_all().and_then(|()| self.file.stream_position());
        let size = size.map_err(|error| unwritable(&shown, &error))?;
        // Somebody else may have made it meanwhile.
        vacant(target, self.force)?;
        std::fs::rename(&self.path, target)
            .map_err(|error| unwritable(&target.display().to_string(), &error))?;
        Ok(size)
    }
}

impl Drop for Part {
    /// What was refused, or never began, leaves nothing behind, and neither does what is whole now.
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            std::fs::remove_file(&self.path).ok();
        }
        if !self.path.exists() {
            std::fs::remove_file(begun::beside(&self.path)).ok();
        }
    }
}

/// What whoever meets a failure can do about it.
pub fn go_on(mut failure: Failure, shape: Shape) -> Failure {
    if !matches!(shape, Shape::Whole) {
        failure.message.push_str("; go on with --resume");
    }
    failure
}

/// What a bar counts.
pub enum Bar {
    /// Bytes.
    Bytes(ProgressBar),
    /// Line ends.
    Lines(ProgressBar),
}

impl Bar {
    fn add(&self, piece: &[u8]) {
        match self {
            Self::Bytes(bar) => bar.inc(piece.len() as u64),
            Self::Lines(bar) => bar.inc(memchr::memchr_iter(b'\n', piece).count() as u64),
        }
    }

    fn bar(&self) -> &ProgressBar {
        let (Self::Bytes(bar) | Self::Lines(bar)) = self;
        bar
    }

    /// Says what it is about.
    pub fn set_message(&self, text: String) {
        self.bar().set_message(text);
    }
}

/// Copies an answer to its end, and tells how far it is.
pub fn copy(body: &mut dyn Read, to: &mut dyn Write, bar: &Bar) -> Result<(), Failure> {
    let mut piece = vec![0; PIECE];
    let mut written = 0_u64;
    loop {
        let read = body.read(&mut piece).map_err(|error| {
            let message = format!("the export was cut off after {written} bytes ({error})");
            Failure::new(Exit::Unreachable, "INCOMPLETE", message)
        })?;
        if read == 0 {
            to.flush()?;
            bar.bar().finish_and_clear();
            return Ok(());
        }
        to.write_all(&piece[..read])?;
        written += read as u64;
        bar.add(&piece[..read]);
    }
}

/// How far a file is whole, and the cursor of its last row. Without a cursor nothing of it is.
#[derive(Default, PartialEq, Eq, Debug)]
struct Whole {
    bytes: u64,
    rows: u64,
    cursor: Option<String>,
}

fn whole_lines(input: &mut impl BufRead, cursor: fn(&[u8]) -> Option<String>) -> io::Result<Whole> {
    let (mut whole, mut line) = (Whole::default(), Vec::new());
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(whole);
        }
        let Some(cursor) = cursor(&line) else { return Ok(whole) };
        whole = Whole { bytes: whole.bytes + read as u64, rows: whole.rows + 1, cursor: Some(cursor) };
    }
}

fn whole_records(input: &mut impl BufRead, column: &str) -> io::Result<Whole> {
    let (mut whole, mut record, mut names) = (Whole::default(), Vec::new(), 0_u64);
    loop {
        let read = input.read_until(b'\n', &mut record)?;
        if read == 0 || record.last() != Some(&b'\n') {
            return Ok(whole);
        }
        let quotes = memchr::memchr_iter(b'"', &record).count();
        if !quotes.is_multiple_of(2) {
            continue;
        }
        let first = record.split(|byte| *byte == b',').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).trim_start_matches('\'').to_owned();
        let length = record.len() as u64;
        if first == column && names == 0 {
            names = length;
        } else {
            let bytes = if whole.cursor.is_some() { whole.bytes } else { names } + length;
            whole = Whole { bytes, rows: whole.rows + 1, cursor: Some(first) };
        }
        record.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(line: &[u8]) -> Option<String> {
        let row: serde_json::Value = serde_json::from_slice(line).ok()?;
        row["cursor"].as_str().map(str::to_owned)
    }

    #[test]
    fn of_lines_whole_ones_count() {
        let whole = |text: &str| whole_lines(&mut text.as_bytes(), cursor).unwrap();
        assert_eq!(whole(""), Whole::default());
        assert_eq!(whole("{\"cursor\":\"a\""), Whole::default());
        let two = "{\"cursor\":\"a\",\"count\":1}\n{\"cursor\":\"b\"}\n";
        let end = Whole { bytes: two.len() as u64, rows: 2, cursor: Some("b".into()) };
        assert_eq!(whole(two), end);
        assert_eq!(whole(&format!("{two}{{\"cursor\":\"c\"")), end);
        assert_eq!(whole(&format!("{two}not json\n")), end);
    }

    #[test]
    fn of_csv_whole_records_count_and_names_alone_do_not() {
        let whole = |text: &str| whole_records(&mut text.as_bytes(), "cursor").unwrap();
        assert_eq!(whole("cursor,resource\r\n"), Whole::default());
        assert_eq!(whole("cursor,reso"), Whole::default());
        let two = "cursor,resource\r\na,x\r\nb,\"two\r\nlines \"\"quoted\"\"\"\r\n";
        let end = Whole { bytes: two.len() as u64, rows: 2, cursor: Some("b".into()) };
        assert_eq!(whole(two), end);
        assert_eq!(whole(&format!("{two}c,\"open\r\nto the end\r\n")), end);
        assert_eq!(whole(&format!("{two}c,x")), end);
        let without_names = "a,x\r\n";
        assert_eq!(whole(without_names), Whole { bytes: 5, rows: 1, cursor: Some("a".into()) });
    }
}
