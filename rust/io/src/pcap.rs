//! Ethernet frames in pcap files, with times to the nanosecond.

use fastlvs_core::time::{Duration, Instant};
use pcap_file::pcap::{self, PcapHeader, PcapPacket, RawPcapPacket};
use pcap_file::{DataLink, Endianness, PcapError as FormatError, TsResolution};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// The longest frame in the files that we write: any aggregate fits.
const SNAPLEN: u32 = 262_144;
const FILE_HEADER: u64 = 24;
const FRAME_HEADER: u64 = 16;

/// What is wrong with a pcap file, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}: {place}: {problem}", path.display())]
pub struct PcapError {
    /// The file.
    pub path: PathBuf,
    /// The place in it.
    pub place: Place,
    /// What is wrong there.
    pub problem: Problem,
}

/// A place in a pcap file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole, or its header.
    File,
    /// A frame: its number, from 1, and the byte that its record begins at.
    Frame {
        /// As Wireshark counts.
        number: u64,
        /// From the beginning of the file.
        offset: u64,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Frame { number, offset } => write!(f, "frame {number} at byte {offset}"),
        }
    }
}

/// What can be wrong with a pcap file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be opened, read or written.
    #[error("{0}")]
    Io(io::Error),
    /// It ends within a header or a frame.
    #[error("the file ends too early")]
    Truncated,
    /// It is of another format.
    #[error("not a pcap file (pcapng is converted by `editcap -F nsecpcap`)")]
    NotPcap,
    /// It holds packets of another kind of link.
    #[error("expected Ethernet frames, got link type {0:?}")]
    NotEthernet(DataLink),
    /// The frame is not there as a whole.
    #[error("only {kept} of the frame's {length} bytes were captured; capture whole frames (`tcpdump -s 0`)")]
    Cut {
        /// Bytes in the file.
        kept: u32,
        /// Bytes that the frame had.
        length: u32,
    },
    /// A field has an impossible value.
    #[error("{0}")]
    Field(&'static str),
}

/// Writes frames to a pcap file, buffered.
#[derive(Debug)]
pub struct PcapWriter {
    file: pcap::PcapWriter<BufWriter<File>>,
    position: Position,
}

impl PcapWriter {
    /// Makes the file anew; one of this name is overwritten.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, PcapError> {
        let position = Position::start(path.into());
        let file = File::create(&position.path).map_err(|error| position.file_error(Problem::Io(error)))?;
        let header = PcapHeader {
            snaplen: SNAPLEN,
            ts_resolution: TsResolution::NanoSecond,
            endianness: Endianness::native(),
            ..PcapHeader::default()
        };
        match pcap::PcapWriter::with_header(BufWriter::new(file), header) {
            Ok(file) => Ok(Self { file, position }),
            Err(error) => Err(position.file_error(error.into())),
        }
    }

    /// Appends a frame. The file counts seconds since its origin (1970 where it matters) in 32 bits.
    pub fn write(&mut self, time: Instant, frame: &[u8]) -> Result<(), PcapError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(Duration::from_nanos(time.as_nanos()), length, frame);
        self.file.write_packet(&packet).map_err(|error| self.position.frame_error(error.into()))?;
        self.position.advance(length);
        Ok(())
    }

    /// Writes what is still buffered. A writer that is merely dropped does so too, but cannot tell
    /// that it failed.
    pub fn finish(self) -> Result<(), PcapError> {
        let Self { file, position } = self;
        file.into_writer().flush().map_err(|error| position.file_error(Problem::Io(error)))
    }
}

/// Reads the frames of a pcap file, with micro- or nanosecond times, in either byte order.
#[derive(Debug)]
pub struct PcapReader {
    file: pcap::PcapReader<File>,
    position: Position,
    failed: bool,
}

impl PcapReader {
    /// Opens a file of Ethernet frames.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, PcapError> {
        let position = Position::start(path.into());
        let file = File::open(&position.path).map_err(|error| position.file_error(Problem::Io(error)))?;
        let file = match pcap::PcapReader::new(file) {
            Ok(file) => file,
            Err(FormatError::InvalidField(_)) => return Err(position.file_error(Problem::NotPcap)),
            Err(error) => return Err(position.file_error(error.into())),
        };
        match file.header().datalink {
            DataLink::ETHERNET => Ok(Self { file, position, failed: false }),
            other => Err(position.file_error(Problem::NotEthernet(other))),
        }
    }
}

/// Time and frame, in the file's order. Nothing comes after an error.
impl Iterator for PcapReader {
    type Item = Result<(Instant, Vec<u8>), PcapError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let resolution = self.file.header().ts_resolution;
        let packet = self.file.next_raw_packet()?.map_err(Problem::from);
        let frame = packet.and_then(|packet| Ok((time_of(&packet, resolution)?, whole(packet)?)));
        self.failed = frame.is_err();
        Some(match frame {
            Ok((time, bytes)) => {
                self.position.advance(bytes.len() as u32);
                Ok((time, bytes))
            }
            Err(problem) => Err(self.position.frame_error(problem)),
        })
    }
}

fn time_of(packet: &RawPcapPacket<'_>, resolution: TsResolution) -> Result<Instant, Problem> {
    let (unit, units) = match resolution {
        TsResolution::MicroSecond => (1_000, 1_000_000),
        TsResolution::NanoSecond => (1, 1_000_000_000),
    };
    if packet.ts_frac >= units {
        return Err(Problem::Field("expected a fraction of a second, got a whole one"));
    }
    let fraction = u64::from(packet.ts_frac) * unit;
    Ok(Instant::from_nanos(u64::from(packet.ts_sec) * 1_000_000_000 + fraction))
}

fn whole(packet: RawPcapPacket<'_>) -> Result<Vec<u8>, Problem> {
    if packet.incl_len < packet.orig_len {
        return Err(Problem::Cut { kept: packet.incl_len, length: packet.orig_len });
    }
    Ok(packet.data.into_owned())
}

impl From<FormatError> for Problem {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            FormatError::IoError(error) => Self::Io(error),
            FormatError::InvalidField(text) => Self::Field(text),
            _ => Self::Truncated,
        }
    }
}

/// Where in a file we are: before the frame of this number.
#[derive(Debug)]
struct Position {
    path: PathBuf,
    number: u64,
    offset: u64,
}

impl Position {
    fn start(path: PathBuf) -> Self {
        Self { path, number: 1, offset: FILE_HEADER }
    }

    fn advance(&mut self, length: u32) {
        self.number += 1;
        self.offset += FRAME_HEADER + u64::from(length);
    }

    fn file_error(&self, problem: Problem) -> PcapError {
        PcapError { path: self.path.clone(), place: Place::File, problem }
    }

    fn frame_error(&self, problem: Problem) -> PcapError {
        let place = Place::Frame { number: self.number, offset: self.offset };
        PcapError { path: self.path.clone(), place, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the tests' own, gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, contents: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("fastlvs-pcap-{}-{name}", std::process::id()));
            std::fs::write(&path, contents).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            _ = std::fs::remove_file(&self.0);
        }
    }

    /// A big-endian header with microseconds, and one frame of 4 bytes at 1.000002 s.
    #[rustfmt::skip]
    const FILE: [u8; 44] = [
        0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1,
        0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef,
    ];

    fn read(name: &str, contents: &[u8]) -> Result<Vec<(Instant, Vec<u8>)>, String> {
        let file = Scratch::new(name, contents);
        let frames = PcapReader::open(&file.0).and_then(Iterator::collect);
        frames.map_err(|error: PcapError| error.to_string().replace(&*file.0.to_string_lossy(), "FILE"))
    }

    #[test]
    fn frames_read_back_as_written() {
        let file = Scratch::new("back", b"");
        let frames = [
            (Instant::ZERO, vec![0; 60]),
            (Instant::from_nanos(1_700_000_000_123_456_789), vec![1; 65_550]),
            (Instant::from_nanos(5), vec![]),
        ];
        let mut writer = PcapWriter::create(&file.0).unwrap();
        for (time, frame) in &frames {
            writer.write(*time, frame).unwrap();
        }
        writer.finish().unwrap();
        assert_eq!(std::fs::read(&file.0).unwrap()[..4], 0xa1b2_3c4d_u32.to_ne_bytes());
        let read: Vec<_> = PcapReader::open(&file.0).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, frames);
    }

    #[test]
    fn a_frame_that_does_not_fit_names_its_place() {
        let file = Scratch::new("large", b"");
        let mut writer = PcapWriter::create(&file.0).unwrap();
        writer.write(Instant::ZERO, &[0; 60]).unwrap();
        let error = writer.write(Instant::ZERO, &vec![0; SNAPLEN as usize + 1]).unwrap_err();
        assert_eq!(error.place, Place::Frame { number: 2, offset: 100 });
        let error = writer.write(Instant::FAR_FUTURE, &[0; 60]).unwrap_err();
        assert!(matches!(error.problem, Problem::Field(_)), "{error}");
    }

    #[test]
    fn foreign_byte_order_and_microseconds_are_read() {
        assert_eq!(
            read("order", &FILE),
            Ok(vec![(Instant::from_nanos(1_000_002_000), vec![0xde, 0xad, 0xbe, 0xef])])
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let edited = |place: usize, byte: u8| {
            let mut file = FILE;
            file[place] = byte;
            file.to_vec()
        };
        let second = [&FILE[..], &FILE[24..40]].concat();
        let cases = [
            ("magic", edited(0, 0x0a), "FILE: file: not a pcap file"),
            ("short", FILE[..20].to_vec(), "FILE: file: the file ends too early"),
            ("link", edited(23, 101), "FILE: file: expected Ethernet frames, got link type RAW"),
            ("end", FILE[..42].to_vec(), "FILE: frame 1 at byte 24: the file ends too early"),
            ("second", second, "FILE: frame 2 at byte 44: the file ends too early"),
            ("cut", edited(39, 6), "FILE: frame 1 at byte 24: only 4 of the frame's 6 bytes"),
            ("time", edited(28, 1), "FILE: frame 1 at byte 24: expected a fraction of a second"),
        ];
        for (name, contents, expected) in cases {
            let error = read(name, &contents).unwrap_err();
            assert!(error.starts_with(expected), "{name}: {error}");
        }
        let error = PcapReader::open("/nonexistent/x.pcap").unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/x.pcap: file: No such file"), "{error}");
    }
}
