//! Random numbers that are a function of a seed, a name and a row.

/// A counter-based generator (splitmix64): any row can be computed without the ones before it.
pub struct Rng {
    state: u64,
    salt: u64,
}

pub fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Rng {
    pub fn new(seed: u64, salt: u64, row: u64) -> Rng {
        Rng { state: mix(seed ^ salt) ^ row.wrapping_mul(0xd6e8_feb8_6659_fd93), salt }
    }

    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// A small number of the column, to spread special rows differently in each.
    pub fn salt(&self) -> u64 {
        self.salt & 15
    }
}

/// FNV-1a: names become salts, so that adding a column changes no other.
pub fn salt_of(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for b in parts.iter().flat_map(|p| p.bytes().chain([b'.'])) {
        hash = (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
