//! Threads that compute stay awake between the small products of a pass: one that has gone to sleep is there again only after
//! most of such a product is done.

use rayon::Yield;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

/// A thread that found nothing to do for so long may sleep: longer than what one thread does alone between two products.
const IDLE: Duration = Duration::from_micros(300);
/// Turns between two looks for work.
const TURNS: usize = 20;

/// Keeps the other threads looking for work until there was none for [`IDLE`].
pub fn stay() {
    let here = rayon::current_thread_index();
    if here.is_none() {
        return;
    }
    rayon::spawn_broadcast(move |of| {
        if Some(of.index()) == here {
            return;
        }
        let mut busy = Instant::now();
        while busy.elapsed() < IDLE {
            match rayon::yield_now() {
                Some(Yield::Executed) => busy = Instant::now(),
                _ => (0..TURNS).for_each(|_| spin_loop()),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    /// Also where the thread that asks for it is one of those, and waits for the others meanwhile.
    #[test]
    fn work_is_done_and_they_go_back_to_sleep() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        let sum = pool.install(|| {
            stay();
            let inner = |i: u64| (0..100u64).into_par_iter().map(|j| i * j).sum::<u64>();
            (0..100u64).into_par_iter().map(inner).sum::<u64>()
        });
        assert_eq!(sum, 4950 * 4950);
        // One task for each thread at the same time: none is still kept.
        let seen = std::sync::Barrier::new(3);
        pool.broadcast(|_| seen.wait());
    }
}
