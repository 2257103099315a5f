//! NumPy's random numbers, so that a seed gives Gymnasium's start states.
//!
//! `SeedSequence` turns a seed into words, `PCG64` (XSL-RR 128/64) turns them into a stream, and the draws below consume
//! the stream exactly as `numpy.random.Generator` does: uniforms and bounded integers agree to the last bit, normals to
//! about 2e-15 (NumPy ships rounded ziggurat tables; ours are computed).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use rand_pcg::{Lcg128Xsl64, rand_core::Rng};

/// A random number generator that draws what `numpy.random.default_rng(seed)` draws.
#[derive(Clone, Debug)]
pub struct Generator {
    pcg: Lcg128Xsl64,
    /// The unused high half of the last 64-bit word that a 32-bit draw took.
    spare: Option<u32>,
}

impl Generator {
    /// The generator of a seed.
    pub fn from_seed(seed: u64) -> Self {
        // A high word of zero changes nothing: the pool of four is filled up with zeros.
        Self::from_words(SeedSequence::new(&[seed as u32, (seed >> 32) as u32]).words())
    }

    /// A generator that the operating system seeds.
    pub fn from_os() -> Self {
        // The standard library keys its hash maps from the operating system; the hash of nothing is such a key, mixed.
        Self::from_seed(RandomState::new().build_hasher().finish())
    }

    fn from_words([v0, v1, v2, v3]: [u64; 4]) -> Self {
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        Self { pcg: Lcg128Xsl64::new(wide(v0, v1), wide(v2, v3)), spare: None }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.pcg.next_u64()
    }

    /// The next 32 bits: halves of a 64-bit word, low one first.
    pub fn next_u32(&mut self) -> u32 {
        self.spare.take().unwrap_or_else(|| {
            let word = self.next_u64();
            self.spare = Some((word >> 32) as u32);
            word as u32
        })
    }

    /// A uniform double in `[0, 1)`, a multiple of 2^-53.
    pub fn double(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform double in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.double()
    }

    /// A uniform integer below `n`, without bias (Lemire's method); 0 where `n` is 0 or 1, and then nothing is drawn.
    pub fn below(&mut self, n: u32) -> u32 {
        if n <= 1 {
            return 0;
        }
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n; // 2^32 mod n
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// A standard normal, by a ziggurat of 256 layers.
    pub fn normal(&mut self) -> f64 {
        loop {
            let word = self.next_u64();
            let layer = (word & 0xff) as usize;
            let word = word >> 8;
            let negative = word & 1 == 1;
            let k = (word >> 1) & ((1 << 52) - 1);
            let x = k as f64 * ZIGGURAT.width[layer];
            let x = if negative { -x } else { x };
            if k < ZIGGURAT.inside[layer] {
                return x;
            }
            if layer == 0 {
                let tail = self.normal_tail();
                return if (k >> 8) & 1 == 1 { -tail } else { tail };
            }
            let (upper, lower) = (ZIGGURAT.height[layer - 1], ZIGGURAT.height[layer]);
            if (upper - lower) * self.double() + lower < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    /// A normal beyond the ziggurat's edge (Marsaglia's tail method).
    fn normal_tail(&mut self) -> f64 {
        loop {
            let a = -(-self.double()).ln_1p() / EDGE;
            let b = -(-self.double()).ln_1p();
            if b + b > a * a {
                return EDGE + a;
            }
        }
    }
}

/// A seed for one part of a job, from the job's seed and the part's place in it (an episode's index, say).
///
/// The same arguments give the same seed on every machine; different places give unrelated seeds.
pub fn derive_seed(seed: u64, place: &[u64]) -> u64 {
    // Two words for each number, also where the high one is zero, and the count at the end: the sequence fills itself up with
    // zeros, so without it a place and the same place followed by a zero would share their words.
    let numbers = std::iter::once(&seed).chain(place);
    let mut words: Vec<u32> = numbers.flat_map(|&number| [number as u32, (number >> 32) as u32]).collect();
    words.push(place.len() as u32);
    SeedSequence::new(&words).words()[0]
}

/// NumPy's `SeedSequence`: a pool of four words, stirred by the entropy.
struct SeedSequence {
    pool: [u32; 4],
}

impl SeedSequence {
    /// `entropy`: 32-bit words, the low one first.
    fn new(entropy: &[u32]) -> Self {
        let mut multiplier = 0x43b0_d7e5_u32;
        let mut hash = |value: u32| {
            let value = value ^ multiplier;
            multiplier = multiplier.wrapping_mul(0x931e_8875);
            let value = value.wrapping_mul(multiplier);
            value ^ value >> 16
        };
        let mix = |x: u32, y: u32| {
            let z = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
            z ^ z >> 16
        };
        let mut pool: [u32; 4] = std::array::from_fn(|i| hash(entropy.get(i).copied().unwrap_or(0)));
        for source in 0..4 {
            for destination in (0..4).filter(|&destination| destination != source) {
                pool[destination] = mix(pool[destination], hash(pool[source]));
            }
        }
        for &word in entropy.get(4..).unwrap_or(&[]) {
            for slot in &mut pool {
                *slot = mix(*slot, hash(word));
            }
        }
        Self { pool }
    }

    /// The first four 64-bit words of output.
    fn words(&self) -> [u64; 4] {
        let mut multiplier = 0x8b51_f9dd_u32;
        let mut next = |i: usize| {
            let value = self.pool[i % 4] ^ multiplier;
            multiplier = multiplier.wrapping_mul(0x58f3_8ded);
            let value = value.wrapping_mul(multiplier);
            u64::from(value ^ value >> 16)
        };
        std::array::from_fn(|i| next(2 * i) | next(2 * i + 1) << 32)
    }
}

/// Where the ziggurat's lowest layer ends and the tail begins.
const EDGE: f64 = 3.654_152_885_361_009;
/// Area of each layer.
const AREA: f64 = 0.004_928_673_233_974_652;

/// The ziggurat's tables: `width` scales a 52-bit integer to x, below `inside` the point is surely under the curve, `height` is
/// the curve at the layer's outer corner.
struct Ziggurat {
    inside: [u64; 256],
    width: [f64; 256],
    height: [f64; 256],
}

static ZIGGURAT: LazyLock<Ziggurat> = LazyLock::new(|| {
    let scale = (1u64 << 52) as f64;
    let density = |x: f64| (-0.5 * x * x).exp();
    let (mut inside, mut width, mut height) = ([0; 256], [0.0; 256], [0.0; 256]);
    let base = AREA / density(EDGE);
    inside[0] = (EDGE / base * scale) as u64;
    width[0] = base / scale;
    width[255] = EDGE / scale;
    height[0] = 1.0;
    height[255] = density(EDGE);
    let (mut corner, mut previous) = (EDGE, EDGE);
    for i in (1..255).rev() {
        corner = (-2.0 * (AREA / corner + density(corner)).ln()).sqrt();
        inside[i + 1] = (corner / previous * scale) as u64;
        previous = corner;
        height[i] = density(corner);
        width[i] = corner / scale;
    }
    Ziggurat { inside, width, height }
});

#[cfg(test)]
mod tests {
    use super::*;

    // From numpy 2.4.6: default_rng(42).random(), .integers(3, size=5), .standard_normal(3) on fresh generators.
    #[test]
    fn draws_are_numpys() {
        assert_eq!(Generator::from_seed(42).double(), 0.7739560485559633);
        let mut generator = Generator::from_seed(42);
        let integers: Vec<u32> = (0..5).map(|_| generator.below(3)).collect();
        assert_eq!(integers, [0, 2, 1, 1, 1]);
        let mut generator = Generator::from_seed(42);
        for expected in [0.30471707975443135, -1.0399841062404955, 0.7504511958064572] {
            assert!((generator.normal() - expected).abs() < 1e-14);
        }
    }

    // default_rng(2**40 + 7): the last of 200,000 normals, then integers(7), then random(); rejections and tail draws included.
    #[test]
    fn a_long_stream_stays_in_step_with_numpys() {
        let mut generator = Generator::from_seed((1 << 40) + 7);
        let last = (0..200_000).map(|_| generator.normal()).last().unwrap();
        assert!((last - -0.33078230482411164).abs() < 1e-14);
        assert_eq!((generator.below(7), generator.double()), (3, 0.9655159535538638));
    }

    #[test]
    fn normals_have_the_moments_and_tail_of_a_normal() {
        let mut generator = Generator::from_seed(9);
        let n = 400_000;
        let draws: Vec<f64> = (0..n).map(|_| generator.normal()).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|x| x * x).sum::<f64>() / n as f64 - mean * mean;
        // Four standard errors of each.
        assert!(mean.abs() < 4.0 / (n as f64).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / n as f64).sqrt(), "variance {variance}");
        // 2.58e-4 of the mass lies beyond the edge on either side together: about 103 draws.
        let beyond = draws.iter().filter(|x| x.abs() > EDGE).count();
        assert!((60..150).contains(&beyond), "{beyond} beyond the edge");
        assert!(draws.iter().any(|&x| x > EDGE) && draws.iter().any(|&x| x < -EDGE), "one tail is empty");
    }

    #[test]
    fn derived_seeds_differ_by_place_and_by_seed() {
        let mut seeds: Vec<u64> = (0..5).flat_map(|seed| (0..7).map(move |i| derive_seed(seed, &[i]))).collect();
        seeds.push(derive_seed(3, &[]));
        seeds.push(derive_seed(3, &[0, 0]));
        let before = seeds.len();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), before);
        // SeedSequence([3, 0, 4, 0, 1]).generate_state(1, np.uint64) in numpy 2.4.6.
        assert_eq!(derive_seed(3, &[4]), 12_438_470_066_646_952_738);
    }

    #[test]
    fn generators_of_the_operating_system_differ() {
        assert_ne!(Generator::from_os().next_u64(), Generator::from_os().next_u64());
    }
}
