//! Animated PNGs, <https://www.w3.org/TR/png-3/>: eight bits a colour, every frame whole.

use std::io::{Result, Write};

use flate2::{Compression, write::ZlibEncoder};

/// A file that grows frame by frame.
pub(super) struct AnimatedPng {
    bytes: Vec<u8>,
    size: (u32, u32),
    milliseconds: u16,
    /// Of the chunks that belong to frames.
    sequence: u32,
}

impl AnimatedPng {
    /// A file of so many frames, each shown as long, in a loop.
    pub(super) fn new((width, height): (usize, usize), frames: usize, milliseconds: u16) -> Self {
        let size = (width as u32, height as u32);
        let mut png = Self { bytes: b"\x89PNG\r\n\x1a\n".to_vec(), size, milliseconds, sequence: 0 };
        // Eight bits, red, green and blue; not interlaced.
        png.chunk(b"IHDR", &[&size.0.to_be_bytes()[..], &size.1.to_be_bytes(), &[8, 2, 0, 0, 0]].concat());
        // Zero plays are endlessly many.
        png.chunk(b"acTL", &[(frames as u32).to_be_bytes(), 0_u32.to_be_bytes()].concat());
        png
    }

    /// Adds a frame: `[height, width, 3]`.
    pub(super) fn frame(&mut self, image: &[u8]) -> Result<()> {
        let is_first = self.sequence == 0;
        let mut control = [self.next(), self.size.0, self.size.1, 0, 0].map(u32::to_be_bytes).concat();
        control.extend([self.milliseconds.to_be_bytes(), 1000_u16.to_be_bytes()].concat());
        control.extend([0, 0]); // replaces what was there
        self.chunk(b"fcTL", &control);
        let mut data = if is_first { Vec::new() } else { self.next().to_be_bytes().to_vec() };
        let mut encoder = ZlibEncoder::new(&mut data, Compression::fast());
        for row in image.chunks_exact(3 * self.size.0 as usize) {
            encoder.write_all(&[0])?; // unfiltered
            encoder.write_all(row)?;
        }
        encoder.finish()?;
        self.chunk(if is_first { b"IDAT" } else { b"fdAT" }, &data);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.chunk(b"IEND", &[]);
        self.bytes
    }

    fn next(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence - 1
    }

    fn chunk(&mut self, kind: &[u8; 4], data: &[u8]) {
        self.bytes.extend((data.len() as u32).to_be_bytes());
        let start = self.bytes.len();
        self.bytes.extend(kind);
        self.bytes.extend(data);
        let checksum = crc32fast::hash(&self.bytes[start..]);
        self.bytes.extend(checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn every_frame_can_be_unpacked_again_and_checksums_hold() {
        let frames = [[1_u8; 12], [200; 12]];
        let mut png = AnimatedPng::new((2, 2), 2, 40);
        frames.iter().for_each(|frame| png.frame(frame).unwrap());
        let bytes = png.finish();
        let (mut at, mut kinds, mut images) = (8, Vec::new(), Vec::new());
        while at < bytes.len() {
            let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let (length, kind) = (number(at) as usize, std::str::from_utf8(&bytes[at + 4..at + 8]).unwrap());
            let data = &bytes[at + 8..at + 8 + length];
            assert_eq!(number(at + 8 + length), crc32fast::hash(&bytes[at + 4..at + 8 + length]), "{kind}");
            let packed = match kind {
                "IDAT" => Some(data),
                "fdAT" => Some(&data[4..]),
                _ => None,
            };
            if let Some(packed) = packed {
                let mut image = Vec::new();
                flate2::read::ZlibDecoder::new(packed).read_to_end(&mut image).unwrap();
                images.push(image);
            }
            kinds.push(kind);
            at += 12 + length;
        }
        assert_eq!(kinds, ["IHDR", "acTL", "fcTL", "IDAT", "fcTL", "fdAT", "IEND"]);
        for (image, frame) in images.iter().zip(frames) {
            assert_eq!(image, &[&[0], &frame[..6], &[0], &frame[6..]].concat());
        }
    }
}
