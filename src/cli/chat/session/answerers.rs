//! Who answers in a chat: the base model, an adapter, another one.

use super::Session;
use crate::cli::WORKSPACE;
use crate::error::{Error, Result, must_exist};
use crate::runs::adapters;
use std::path::{Path, PathBuf};

impl Session<'_> {
    /// How an adapter is called: told from all others that this chat has named.
    pub(super) fn name(&self, dir: &Path) -> String {
        adapters::name_beside(dir, self.met.iter().chain(&self.listed))
    }

    pub(super) fn who(&self) -> String {
        match self.adapter.as_ref().filter(|_| !self.use_base) {
            Some(dir) => self.name(dir),
            None => "base".into(),
        }
    }

    /// Without a folder: where the adapter that answers has its neighbours, or the workbench its runs.
    pub(super) fn list_adapters(&mut self, folder: Option<PathBuf>) -> Result<()> {
        let beside = || self.adapter.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let folder = folder.or_else(beside).unwrap_or_else(|| Path::new(WORKSPACE).join("runs"));
        let found = adapters::newest_first(&folder);
        if found.is_empty() {
            return Err(Error::usage(format!("no run in {} has an adapter", folder.display()))
                .hint("name the folder that the runs are in: /adapters FOLDER"));
        }
        self.listed = found;
        for (i, dir) in self.listed.iter().enumerate() {
            self.out.note(format!("{:3}  {}", i + 1, dir.display()));
        }
        Ok(())
    }

    pub(super) fn switch(&mut self, dir: Option<PathBuf>) -> Result<()> {
        let number = dir.as_ref().and_then(|dir| dir.to_str()?.parse::<usize>().ok()?.checked_sub(1));
        let dir = number.and_then(|at| self.listed.get(at).cloned()).or(dir);
        if number.is_some() && dir.as_ref().is_some_and(|dir| !dir.exists()) {
            return Err(
                Error::usage("no adapter that was listed has this number").hint("/adapters lists them")
            );
        }
        if let Some(dir) = &dir {
            must_exist(&dir.join("adapter_config.json"), "adapter")?;
            self.met.push(dir.clone());
        }
        (self.use_base, self.adapter) = (dir.is_none(), dir.or(self.adapter.take()));
        self.out.note(format!("answers: {}", self.who()));
        Ok(())
    }
}
