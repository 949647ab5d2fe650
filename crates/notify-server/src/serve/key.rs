//! An API key for a server that was given none.
//!
//! Only a server that nobody else can reach makes one. With a data directory the
//! key's hash is kept there, and the key is shown once, at the first start;
//! without one it lives as long as the process.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use notify_core::hex;
use notify_sse::ApiKeyHash;
use zeroize::Zeroizing;

use super::error::ServeError;

/// The file in the data directory with the made key's SHA-256 in hex.
const FILE: &str = "api-key.sha256";

/// Where the API key comes from.
pub(super) enum KeySource {
    /// The settings.
    Given(ApiKeyHash),
    /// An earlier start in the same data directory, or this one.
    Made,
}

impl KeySource {
    /// The key's hash, and the key itself if it was made just now.
    pub(super) fn settle(
        self,
        dir: Option<&Path>,
    ) -> Result<(ApiKeyHash, Option<MadeKey>), ServeError> {
        if let Self::Given(hash) = self {
            return Ok((hash, None));
        }
        let file = dir.map(|dir| dir.join(FILE));
        let failed = |error| ServeError::KeyFile(file.clone().unwrap_or_default(), error);
        if let Some(file) = &file
            && let Some(hash) = kept(file).map_err(failed)?
        {
            return Ok((hash, None));
        }
        let mut made = MadeKey::random().map_err(|_| ServeError::NoRandomness)?;
        let hash = ApiKeyHash::of(made.expose());
        if let Some(file) = &file {
            keep(file, hash).map_err(failed)?;
            made.is_kept = true;
        }
        Ok((hash, Some(made)))
    }
}

/// The hash that an earlier start has kept.
fn kept(file: &Path) -> io::Result<Option<ApiKeyHash>> {
    match fs::read_to_string(file) {
        Ok(text) => match hex::decode(text.trim()) {
            Some(hash) => Ok(Some(ApiKeyHash::from_sha256(hash))),
            None => Err(io::Error::other(
                "holds no key's hash; remove it, and a new key is made",
            )),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn keep(file: &Path, hash: ApiKeyHash) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    let mut text = String::new();
    hex::push(&mut text, &hash.sha256());
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// A key that was made for a server that only this machine can reach. It is
/// shown once; the server itself keeps its hash.
pub(crate) struct MadeKey {
    text: Zeroizing<String>,
    /// Whether it is good for later starts too.
    is_kept: bool,
}

impl MadeKey {
    /// `nk_` and 32 random bytes in hex. The prefix tells it from a job's token.
    fn random() -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *random)?;
        let mut text = Zeroizing::new(String::with_capacity(3 + 64));
        text.push_str("nk_");
        hex::push(&mut text, &*random);
        Ok(Self {
            text,
            is_kept: false,
        })
    }

    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// What it is introduced with; fixed for scripts.
    pub(super) const fn title(&self) -> &'static str {
        if self.is_kept {
            "api key, made for this data directory"
        } else {
            "api key, made for this run"
        }
    }
}

impl fmt::Debug for MadeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MadeKey(…)")
    }
}
