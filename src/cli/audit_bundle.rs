//! `keyledger audit bundle`: an archive for auditors, as the server makes it.
//!
//! Invariant: what stands under the name that was asked for is whole. Until then it is called `FILE.part`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::audit_args::BundleArgs;
use super::client::Client;
use super::part::{self, Bar};
use super::{Exit, Failure, Output, progress};
use crate::edge::Edge;

/// A file that appears under its name once it is whole. It may hold personal data, so it is for its owner only.
pub struct Target {
    file: PathBuf,
    part: PathBuf,
    open: File,
    force: bool,
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, "OUTPUT", format!("{} cannot be written: {error}", path.display()))
}

impl Target {
    /// Begins to write a file.
    pub fn create(file: &Path, force: bool) -> Result<Self, Failure> {
        part::vacant(file, force)?;
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
        let open = open.map_err(|error| unwritable(&part, &error))?;
        Ok(Self { file: file.to_owned(), part, open, force })
    }

    /// Its name while it is written.
    pub fn shown(&self) -> String {
        self.part.display().to_string()
    }

    /// Gives the file its name, and tells that.
    pub fn finish(self, out: &mut Output<'_>) -> Result<(), Failure> {
        let size = self.open.sync_all().and_then(|()| self.open.metadata()).map(|metadata| metadata.len());
        let size = size.map_err(|error| unwritable(&self.part, &error))?;
        // Somebody else may have made it meanwhile.
        part::vacant(&self.file, self.force)?;
        std::fs::rename(&self.part, &self.file).map_err(|error| unwritable(&self.file, &error))?;
        let file = self.file.display().to_string();
        if out.is_json() {
            return out.json(&json!({ "file": file, "bytes": size }));
        }
        out.note(format_args!("{file} written, {size} bytes; check it with: keyledger audit verify {file}"));
        Ok(())
    }
}

impl Drop for Target {
    /// What was refused, or never began, leaves nothing behind; what was cut off stays for whoever wants to look.
    fn drop(&mut self) {
        if self.open.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            // Whoever cannot remove an empty file is told of what went wrong before.
            std::fs::remove_file(&self.part).ok();
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.flush()
    }
}

/// Asks the server for a bundle and writes it to a file.
pub fn run(args: &BundleArgs, client: &Client, edge: &Edge, out: &mut Output<'_>) -> Result<(), Failure> {
    let now = edge.now();
    let mut pairs = Vec::new();
    let mut add = |name, value: Option<String>| pairs.extend(value.map(|value| (name, value)));
    add("keyId", args.key.map(|id| id.to_string()));
    add("workspaceId", args.workspace.map(|id| id.to_string()));
    add("organizationId", args.organization.map(|id| id.to_string()));
    add("from", args.from.as_ref().map(|from| from.before(now).to_string()));
    add("to", args.to.as_ref().map(|to| to.before(now).to_string()));
    add("since", args.since.map(|since| since.to_string()));
    add("personalData", args.without_personal_data.then(|| "false".to_owned()));
    let mut target = Target::create(&args.output, args.force)?;
    let mut body = client.download("/v1/audit/bundle", &pairs)?;
    let shown = target.shown();
    let bar = progress::bytes(None, out.is_json());
    bar.set_message(shown);
    part::copy(&mut body, &mut target, &Bar::Bytes(bar))?;
    target.finish(out)
}
