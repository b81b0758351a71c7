//! Reads a tar stream entry by entry, with bounds.
//!
//! The counterpart of Go's `archive/tar` reader. The `tar` crate parses single headers; the walk is our own because the crate reads extended
//! headers of any length into memory and refuses what other tools accept: a last file without its padding (umoci writes such layers). The
//! content is covered by the layer's digest, so padding adds no safety. Sparse files are refused.

use std::io::{self, Read};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// Longest extended header, as in Go's reader: names are at most 4 KiB and xattrs at most 64 KiB each.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;
/// Most extended headers before one entry; a name, a link target and one PAX header are all that tools write.
const MAX_EXTENSIONS: usize = 8;

/// Why a tar cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The structure is damaged.
    #[error("malformed tar: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// The stream under it failed.
    #[error("malformed tar: {0}")]
    Io(#[from] io::Error),
}

fn malformed(reason: impl Into<String>) -> TarError {
    TarError::Malformed { reason: reason.into() }
}

type Result<T> = std::result::Result<T, TarError>;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of an earlier file.
    HardLink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// One entry, with all extensions applied.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name as written.
    pub name: Vec<u8>,
    /// Target of a link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission and set-id bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time in seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Headers that apply to the next entry.
#[derive(Debug, Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tar being read.
#[derive(Debug)]
pub struct TarStream<R> {
    inner: R,
    content: u64,
    padding: u64,
    position: u64,
    ended: bool,
}

impl<R: Read> TarStream<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, content: 0, padding: 0, position: 0, ended: false }
    }

    /// Skips what is left of the current entry and gives the next, or `None` at the end.
    ///
    /// # Errors
    /// A damaged structure, or what the stream answers.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        for _ in 0..MAX_EXTENSIONS {
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            let kind = header.entry_type();
            let extension = matches!(kind.as_byte(), b'L' | b'K' | b'x' | b'g');
            let size = if header_only(kind) { 0 } else { header.entry_size()? };
            if !extension {
                let entry = entry(&header, size, extensions)?;
                self.expect(entry.size);
                return Ok(Some(entry));
            }
            self.expect(size);
            let data = self.extension(size)?;
            extensions.add(kind.as_byte(), data)?;
        }
        Err(malformed("too many extended headers before one entry"))
    }

    /// Reads content of the current entry; 0 at its end.
    ///
    /// # Errors
    /// What the stream answers, or its early end.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = retry_interrupted(|| self.inner.read(&mut buffer[..most]))?;
        if n == 0 {
            return Err(malformed(format!(
                "it ends {} bytes before the end of a file",
                self.content
            )));
        }
        self.content -= n as u64;
        self.position += n as u64;
        Ok(n)
    }

    /// Bytes of the stream before the current entry's unread content.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > MAX_EXTENSION_BYTES {
            return Err(malformed(format!("an extended header of {size} bytes")));
        }
        let mut data = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut at = 0;
        while at < data.len() {
            at += self.read_content(&mut data[at..])?;
        }
        Ok(data)
    }

    fn next_header(&mut self) -> Result<Option<Header>> {
        self.skip_rest()?;
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let n = read_full(&mut self.inner, header.as_mut_bytes())?;
        self.position += n as u64;
        if n == 0 || header.as_bytes().iter().all(|b| *b == 0) {
            self.ended = true;
            return Ok(None);
        }
        if n < header.as_bytes().len() {
            return Err(malformed("it ends inside a header"));
        }
        check_sum(&header)?;
        blank_is_zero(&mut header);
        Ok(Some(header))
    }

    fn skip_rest(&mut self) -> Result<()> {
        let mut sink = [0; 8192];
        while self.read_content(&mut sink)? > 0 {}
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(0);
        self.position += read_full(&mut self.inner, &mut sink[..padding])? as u64;
        Ok(())
    }
}

impl Extensions {
    fn add(&mut self, kind: u8, mut data: Vec<u8>) -> Result<()> {
        match kind {
            b'x' => self.pax = parse_pax(&data)?,
            b'L' | b'K' => {
                let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
                data.truncate(end);
                let field = if kind == b'L' { &mut self.long_name } else { &mut self.long_link };
                *field = Some(data);
            }
            // Global PAX headers carry comments (git's commit id); like Go's and Docker's readers, nothing in them is applied.
            _ => {}
        }
        Ok(())
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match retry_interrupted(|| reader.read(&mut buffer[at..]))? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}

fn retry_interrupted(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Types whose size field means nothing.
fn header_only(kind: EntryType) -> bool {
    matches!(kind.as_byte(), b'1'..=b'6')
}

fn check_sum(header: &Header) -> Result<()> {
    let bytes = header.as_bytes();
    let field = 148..156;
    let at = |i: usize| if field.contains(&i) { b' ' } else { bytes[i] };
    let unsigned: u32 = (0..bytes.len()).map(|i| u32::from(at(i))).sum();
    // Some old writers summed signed characters.
    let signed: i64 = (0..bytes.len()).map(|i| i64::from(at(i).cast_signed())).sum();
    let written =
        header.cksum().map_err(|_| malformed("a header without checksum, this is not a tar"))?;
    if written == unsigned || i64::from(written) == signed {
        return Ok(());
    }
    Err(malformed("a header with a wrong checksum"))
}

/// Writes a zero into numeric fields that are empty: some writers leave out what an entry does not have, and Go's reader accepts it.
fn blank_is_zero(header: &mut Header) {
    /// mode, uid, gid, size, mtime, and the device's numbers, which older forms of the header do not have.
    const NUMBERS: [std::ops::Range<usize>; 7] =
        [100..108, 108..116, 116..124, 124..136, 136..148, 329..337, 337..345];
    let numbers = if header.as_ustar().is_some() || header.as_gnu().is_some() { 7 } else { 5 };
    for range in NUMBERS.into_iter().take(numbers) {
        let field = &mut header.as_mut_bytes()[range];
        if field.iter().all(|b| matches!(b, 0 | b' ')) {
            field[0] = b'0';
        }
    }
}

fn entry(header: &Header, size: u64, extensions: Extensions) -> Result<Entry> {
    let mut entry = Entry {
        name: extensions.long_name.unwrap_or_else(|| header.path_bytes().into_owned()),
        link: extensions
            .long_link
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned()),
        kind: Kind::File,
        mode: header.mode()?,
        uid: header.uid()?,
        gid: header.gid()?,
        mtime: (i64::try_from(header.mtime()?).unwrap_or(i64::MAX), 0),
        size,
        device: (0, 0),
        xattrs: Vec::new(),
    };
    for (key, value) in extensions.pax {
        apply_pax(&mut entry, &key, value)?;
    }
    entry.kind = kind(header.entry_type(), &entry.name)?;
    if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        entry.device = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
    }
    if header_only(header.entry_type()) {
        entry.size = 0;
    }
    if entry.name.contains(&0) || entry.link.contains(&0) {
        return Err(malformed("a name with a zero byte"));
    }
    Ok(entry)
}

fn kind(kind: EntryType, name: &[u8]) -> Result<Kind> {
    Ok(match kind.as_byte() {
        // The oldest tars write a directory as a file whose name ends with a slash.
        b'0' | b'\0' | b'7' if name.ends_with(b"/") => Kind::Directory,
        b'0' | b'\0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        b'S' => {
            return Err(malformed(format!(
                "{:?} is a sparse file, which is not supported",
                lossy(name)
            )));
        }
        other => {
            return Err(malformed(format!(
                "{:?} has the unknown type {:?}",
                lossy(name),
                char::from(other)
            )));
        }
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Records of the form `<length> <key>=<value>\n`.
fn parse_pax(mut data: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let bad = || malformed("a damaged PAX header");
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length: usize = std::str::from_utf8(&data[..space])
            .ok()
            .and_then(|s| s.parse().ok())
            .ok_or_else(bad)?;
        if length > data.len() || length < space + 3 || data[length - 1] != b'\n' {
            return Err(bad());
        }
        let record = &data[space + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Ok(records)
}

fn apply_pax(entry: &mut Entry, key: &[u8], value: Vec<u8>) -> Result<()> {
    const XATTR: &[u8] = b"SCHILY.xattr.";
    let number = |value: &[u8]| {
        let text = std::str::from_utf8(value).ok();
        text.and_then(|t| t.parse::<u64>().ok())
            .ok_or_else(|| malformed(format!("PAX field {:?} is no number", lossy(key))))
    };
    match key {
        // An empty value means that the field of the header counts.
        _ if value.is_empty() => {}
        b"path" => entry.name = value,
        b"linkpath" => entry.link = value,
        b"size" => entry.size = number(&value)?,
        b"uid" => entry.uid = number(&value)?,
        b"gid" => entry.gid = number(&value)?,
        b"mtime" => {
            entry.mtime =
                parse_pax_time(&value).ok_or_else(|| malformed("a PAX time that is no time"))?
        }
        key if key.starts_with(b"GNU.sparse.") => {
            return Err(malformed(format!(
                "{:?} is a sparse file, which is not supported",
                lossy(&entry.name)
            )));
        }
        key if key.starts_with(XATTR) => entry.xattrs.push((key[XATTR.len()..].to_vec(), value)),
        _ => {}
    }
    Ok(())
}

/// Seconds with an optional fraction, perhaps negative; the fraction is cut to nanoseconds.
fn parse_pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some((seconds, if text.starts_with('-') { 0 } else { digits.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_records_are_split_by_their_lengths() {
        let records = parse_pax(b"12 path=a=b\n30 mtime=1350244992.023960108\n").unwrap();
        assert_eq!(records[0], (b"path".to_vec(), b"a=b".to_vec()));
        assert_eq!(parse_pax_time(&records[1].1), Some((1_350_244_992, 23_960_108)));
        for bad in [
            &b"5 a=b\n"[..],
            b"99 a=b\n",
            b"a=b\n",
            b"6 abc\n",
            b"18446744073709551616 a=b\n",
            b"0 a=b\n",
        ] {
            assert!(parse_pax(bad).is_err(), "{:?}", lossy(bad));
        }
    }

    #[test]
    fn pax_time_accepts_what_tools_write() {
        assert_eq!(parse_pax_time(b"5"), Some((5, 0)));
        assert_eq!(parse_pax_time(b"5.5"), Some((5, 500_000_000)));
        assert_eq!(parse_pax_time(b"5.1234567891"), Some((5, 123_456_789)));
        assert_eq!(parse_pax_time(b"-5.5"), Some((-5, 0)));
        assert_eq!(parse_pax_time(b"x"), None);
        assert_eq!(parse_pax_time(b"5.x"), None);
    }

    #[test]
    fn oversized_extended_header_is_refused_unread() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(1 << 40);
        header.set_cksum();
        let error = TarStream::new(&header.as_bytes()[..]).next_entry().unwrap_err();
        assert_eq!(error.to_string(), "malformed tar: an extended header of 1099511627776 bytes");
    }

    #[test]
    fn garbage_is_no_tar() {
        let error = TarStream::new(&[b'x'; 2048][..]).next_entry().unwrap_err();
        assert!(error.to_string().contains("not a tar"), "{error}");
        assert!(TarStream::new(&[b'x'; 100][..]).next_entry().is_err());
    }
}
