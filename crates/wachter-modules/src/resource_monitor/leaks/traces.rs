//! Made traces of memory, as shares of a limit by minute: the same for the same seed.

use crate::chance::chance;

/// How memory goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A leak, as even as can be.
    Linear,
    /// A leak under noise of 2 % of the limit.
    Noisy,
    /// A leak by leaps, some of them hours apart.
    Staircase,
    /// A leak below a garbage collector.
    LeakingSawtooth,
    /// A leak below what comes and goes by day.
    LeakingTide,
    /// A leak that begins after a day without one.
    Late,
    /// Noise alone.
    Flat,
    /// One leap.
    Step,
    /// A garbage collector.
    Sawtooth,
    /// Growth that slows down: a cache that knows more and more of what it is asked.
    Logarithmic,
    /// Growth that ends: a cache that becomes full.
    Saturating,
    /// What comes and goes by day.
    Tide,
    /// Each minute a bit up or down, and drawn back to the middle.
    Walk,
}

impl Shape {
    pub(super) const LEAKS: [Self; 6] = [
        Self::Linear,
        Self::Noisy,
        Self::Staircase,
        Self::LeakingSawtooth,
        Self::LeakingTide,
        Self::Late,
    ];

    pub(super) const OTHERS: [Self; 7] = [
        Self::Flat,
        Self::Step,
        Self::Sawtooth,
        Self::Logarithmic,
        Self::Saturating,
        Self::Tide,
        Self::Walk,
    ];

    /// As many minutes as asked for; a leak ends when it reaches the limit.
    pub(super) fn trace(self, seed: u64, minutes: usize) -> Vec<f64> {
        let mut chance = chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self as u64));
        // The first numbers of neighbouring seeds are alike.
        for _ in 0..8 {
            chance();
        }
        let mut between = |low: f64, high: f64| low + (high - low) * (chance() + 0.5);
        let base = between(0.15, 0.5);
        // A leak takes between 6 and 72 hours.
        let pace = (1.0 - base) / (between(6.0, 72.0) * 60.0);
        let (period, height) = (between(5.0, 150.0), between(0.03, 0.15));
        let phase = between(0.0, 1_440.0);
        let leap = between(30.0, 180.0);
        let scale = between(10.0, 240.0);
        let mut walked = 0.0;
        let tide = |minute: f64| (std::f64::consts::TAU * (minute + phase) / 1_440.0).sin();
        let mut trace = Vec::new();
        for minute in (0_u32..).take(minutes) {
            let time = f64::from(minute);
            let small = between(-0.001, 0.001);
            let value = match self {
                Self::Linear => base + pace * time + small,
                Self::Noisy => base + pace * time + between(-0.02, 0.02),
                Self::Staircase => base + pace * leap * (time / leap).floor() + small,
                Self::LeakingSawtooth => {
                    base + pace * time + height * (time / period).fract() + small
                }
                Self::LeakingTide => base + pace * time + 0.02 * tide(time) + small,
                Self::Late => base + pace * (time - 1_440.0).max(0.0) + small,
                Self::Flat => base + between(-0.02, 0.02),
                Self::Step if time < 300.0 + phase => base + small,
                Self::Step => base + 2.0 * height + small,
                Self::Sawtooth => base + 2.0 * height * (time / period).fract() + small,
                // Four fifths of the way to the limit within 30 days.
                Self::Logarithmic => {
                    let whole = (43_200.0 / scale).ln_1p();
                    base + 0.8 * (1.0 - base) * (time / scale).ln_1p() / whole + small
                }
                Self::Saturating => {
                    base + 0.6 * (1.0 - base) * (1.0 - (-time / (3.0 * scale)).exp()) + small
                }
                Self::Tide => base + 0.1 + 0.1 * tide(time) + small,
                Self::Walk => {
                    walked = 0.998 * walked + between(-0.005, 0.005);
                    base + walked
                }
            };
            if Self::LEAKS.contains(&self) && value >= 1.0 {
                break;
            }
            trace.push(value.clamp(0.0, 1.0));
        }
        trace
    }
}
