//! When the next frame is drawn: seldom enough for the eye, and for the line to the terminal.

use std::time::{Duration, Instant};

/// Why a frame is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The user did something, or what a frame missed has come.
    Use,
    /// A job said something: it may wait for its bytes.
    News,
}

/// At most 10 frames a second, in low-bandwidth mode 2.
const FRAME: Duration = Duration::from_millis(100);
const SLOW_FRAME: Duration = Duration::from_millis(500);
/// What was missed (rows, pictures) usually comes a moment after the frame that missed it: one frame may follow soon.
const SPARE: u32 = 2;
/// Bytes a second that news may cost on average: a watched run stays below 4 KB/s, or 1 KB/s.
const NEWS: f64 = 3400.0;
const SLOW_NEWS: f64 = 700.0;
/// One large frame, such as the first of a run, is not paid for over minutes.
const LONGEST_DEBT: f64 = 20.0;
/// News are shown at most this often: a curve that grows by a point needs no more.
const NEWS_FRAME: Duration = Duration::from_millis(250);

/// Frames that may be drawn, and when.
#[derive(Debug)]
pub struct Pace {
    slow: bool,
    /// When all spare frames are there again.
    full: Instant,
    last: Instant,
    /// When the bytes of the last news are paid for.
    paid: Instant,
}

impl Pace {
    pub fn new(now: Instant, slow: bool) -> Self {
        Self { slow, full: now, last: now, paid: now }
    }

    pub fn set_slow(&mut self, slow: bool) {
        self.slow = slow;
    }

    fn frame(&self) -> Duration {
        if self.slow { SLOW_FRAME } else { FRAME }
    }

    /// The earliest time for a frame.
    pub fn due(&self, reason: Reason) -> Instant {
        let spare = if self.slow { 0 } else { SPARE - 1 };
        let soon = self.full.checked_sub(self.frame() * spare).unwrap_or(self.full);
        match reason {
            Reason::Use => soon,
            Reason::News => soon.max(self.last + NEWS_FRAME).max(self.paid),
        }
    }

    /// A frame of `bytes` was sent, for this reason.
    pub fn drawn(&mut self, now: Instant, reason: Reason, bytes: u64) {
        self.full = self.full.max(now) + self.frame();
        self.last = now;
        if reason == Reason::News {
            let rate = if self.slow { SLOW_NEWS } else { NEWS };
            let cost = Duration::from_secs_f64((bytes as f64 / rate).min(LONGEST_DEBT));
            self.paid = self.paid.max(now) + cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames in a minute of constant wishes, and how many bytes they had.
    fn minute(slow: bool, reason: Reason, bytes: u64) -> (u64, u64) {
        let start = Instant::now();
        let mut pace = Pace::new(start, slow);
        let (mut frames, mut now) = (0, start);
        while now < start + Duration::from_secs(60) {
            if now >= pace.due(reason) {
                pace.drawn(now, reason, bytes);
                frames += 1;
            }
            now += Duration::from_millis(1);
        }
        (frames, frames * bytes)
    }

    #[test]
    fn ten_frames_a_second_or_two() {
        assert!((600..=601).contains(&minute(false, Reason::Use, 500).0));
        assert!((120..=121).contains(&minute(true, Reason::Use, 500).0));
    }

    #[test]
    fn news_keep_to_their_bytes() {
        assert!((239..=241).contains(&minute(false, Reason::News, 100).0), "4 a second when they are small");
        for size in [500, 2_000, 8_000] {
            assert!(minute(false, Reason::News, size).1 < 4_000 * 60 + size);
            assert!(minute(true, Reason::News, size).1 < 1_000 * 60 + size);
        }
    }

    #[test]
    fn a_key_is_shown_at_once_and_its_rows_soon_after() {
        let now = Instant::now();
        let mut pace = Pace::new(now, false);
        assert!(pace.due(Reason::Use) <= now);
        pace.drawn(now, Reason::Use, 100);
        assert!(pace.due(Reason::Use) <= now, "rows that come now");
        pace.drawn(now, Reason::Use, 100);
        assert!(pace.due(Reason::Use) > now + Duration::from_millis(90));
        let mut slow = Pace::new(now, true);
        slow.drawn(now, Reason::Use, 100);
        assert!(slow.due(Reason::Use) > now + Duration::from_millis(490));
    }
}
