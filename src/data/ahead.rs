//! Pictures made ready on threads of their own, ahead of who computes with them.

use super::sample::ImageRef;
use crate::error::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// What makes a picture ready.
pub type Prepare<T> = Arc<dyn Fn(&ImageRef) -> Result<T> + Send + Sync>;

/// The pictures of samples that are wanted soon. What is handed out does not depend on which thread was first.
pub struct Ahead<T> {
    prepare: Prepare<T>,
    /// `None` until there is something to do, or where the system gives no threads: then nothing is done ahead.
    pool: Option<ThreadPool>,
    threads: usize,
    /// Bytes that may wait.
    limit: usize,
    coming: HashMap<usize, Coming<T>>,
}

struct Coming<T> {
    bytes: usize,
    pictures: Receiver<Result<Vec<T>>>,
}

/// A sample that is wanted soon.
pub struct Wanted<'a> {
    /// Its place in the data set.
    pub place: usize,
    pub images: &'a [ImageRef],
    /// What its pictures will take when they are ready.
    pub bytes: usize,
}

impl<T: Send + 'static> Ahead<T> {
    pub fn new(prepare: Prepare<T>, threads: usize, limit: usize) -> Self {
        Self { prepare, pool: None, threads: threads.max(1), limit, coming: HashMap::new() }
    }

    /// Begins with the samples that are wanted next, the first ones first, as far as the limit allows. What was
    /// begun and is wanted no more is dropped.
    pub fn want(&mut self, next: &[Wanted]) {
        self.coming.retain(|place, _| next.iter().any(|w| w.place == *place));
        let mut waiting: usize = self.coming.values().map(|c| c.bytes).sum();
        for sample in next.iter().filter(|w| !w.images.is_empty()) {
            if self.coming.contains_key(&sample.place) {
                continue;
            }
            if waiting + sample.bytes > self.limit {
                break;
            }
            waiting += sample.bytes;
            self.begin(sample);
        }
    }

    fn begin(&mut self, sample: &Wanted) {
        if self.pool.is_none() {
            let name = |i| format!("pictures {i}");
            self.pool = ThreadPoolBuilder::new().num_threads(self.threads).thread_name(name).build().ok();
        }
        let Some(pool) = &self.pool else { return };
        let (send, pictures) = channel();
        let (images, prepare) = (sample.images.to_vec(), self.prepare.clone());
        // Whether anybody still waits is not known here.
        pool.spawn_fifo(move || drop(send.send(images.iter().map(|image| prepare(image)).collect())));
        self.coming.insert(sample.place, Coming { bytes: sample.bytes, pictures });
    }

    /// The pictures of the sample at `place`: waits for them if they were begun, else they are made ready here.
    pub fn take(&mut self, place: usize) -> Option<Result<Vec<T>>> {
        // A thread that panicked sends nothing: then the caller meets the panic itself.
        self.coming.remove(&place)?.pictures.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::path::PathBuf;
    use std::sync::Mutex;

    fn image(name: &str) -> Vec<ImageRef> {
        vec![ImageRef::Path(PathBuf::from(name))]
    }

    /// The names of what was prepared; "bad" cannot be.
    fn names() -> (Ahead<String>, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let prepare = move |image: &ImageRef| {
            let ImageRef::Path(path) = image else { unreachable!("only paths here") };
            let name = path.display().to_string();
            log.lock().expect("no panic").push(name.clone());
            if name == "bad" { Err(Error::input("bad")) } else { Ok(name) }
        };
        (Ahead::new(Arc::new(prepare), 2, 100), seen)
    }

    #[test]
    fn what_was_wanted_is_there_within_the_limit() {
        let (mut ahead, _) = names();
        let (a, b, c) = (image("a"), image("bad"), image("c"));
        let want = |place, images, bytes| Wanted { place, images, bytes };
        ahead.want(&[want(7, &a, 60), want(8, &b, 40), want(9, &c, 1)]);
        assert!(ahead.take(9).is_none(), "beyond the limit");
        assert!(matches!(ahead.take(7), Some(Ok(names)) if names == ["a"]));
        assert!(matches!(ahead.take(8), Some(Err(_))));
        assert!(ahead.take(7).is_none(), "handed out once");
    }

    #[test]
    fn nothing_is_prepared_twice_and_what_is_wanted_no_more_makes_room() {
        let (mut ahead, seen) = names();
        let (a, b) = (image("a"), image("b"));
        let want = |place, images| Wanted { place, images, bytes: 80 };
        ahead.want(&[want(1, &a)]);
        ahead.want(&[want(1, &a), want(2, &b)]);
        assert!(ahead.take(2).is_none());
        ahead.want(&[want(2, &b)]);
        assert!(matches!(ahead.take(2), Some(Ok(names)) if names == ["b"]));
        let seen = seen.lock().expect("no panic");
        assert!(seen.iter().filter(|name| *name == "a").count() <= 1, "{seen:?}");
    }
}
