//! What `serve` prints when it is ready.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::Founded;

/// An address that a client on this machine can use.
pub(super) fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The first line is for programs: `listening on URL`. The rest is for people.
pub(super) fn print(url: &str, data_dir: &Path, founded: Option<&Founded>) -> io::Result<()> {
    let text = text(url, &data_dir.display().to_string(), founded);
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn text(url: &str, data_dir: &str, founded: Option<&Founded>) -> String {
    let mut text = format!("listening on {url}\n\n");
    // Writing to a string does not fail.
    let _ = match founded {
        Some(founded) => write!(
            text,
            "New data directory {data_dir}\n\
             \x20 organization  {}\n\
             \x20 workspace     {}\n\
             \x20 root key      {}\n\
             \n\
             The root key may do everything and is shown this once: put it in your password store.\n\
             Issue your first key, from another terminal:\n\
             \n\
             export KEYLEDGER_URL={url} KEYLEDGER_KEY={}\n\
             curl -s $KEYLEDGER_URL/graphql -H \"Authorization: Bearer $KEYLEDGER_KEY\" -H 'Content-Type: application/json' -d \\\n\
             \x20 '{{\"query\":\"mutation {{ createKey(input: {{name: \\\"first\\\", environment: DEVELOPMENT, scopes: [{{action: READ, resource: \\\"customers/**\\\"}}]}}) {{ key {{ id name status }} secret }} }}\"}}'\n",
            founded.organization,
            founded.workspace,
            founded.root_key.expose(),
            founded.root_key.expose(),
        ),
        None => writeln!(text, "Data directory {data_dir}. Stop with Ctrl-C."),
    };
    text
}
