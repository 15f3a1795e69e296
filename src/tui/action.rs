//! What a user can want, and the keys bound to it by `configs/keys.toml`.

use crate::error::{Error, Result};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::collections::HashMap;

/// Declares the actions: variant, its name in `keys.toml`, what it does.
macro_rules! actions {
    ($($variant:ident $name:literal $help:literal)*) => {
        /// An intent. Panes and the application handle it in one `match` each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $($variant),* }

        impl Action {
            /// All actions in the order of the help.
            pub const ALL: &[Action] = &[$(Action::$variant),*];

            /// The name in `keys.toml`.
            pub fn name(self) -> &'static str {
                match self { $(Action::$variant => $name),* }
            }

            /// What it does, for help and palette.
            pub fn help(self) -> &'static str {
                match self { $(Action::$variant => $help),* }
            }
        }
    };
}

actions! {
    Filter "filter" "Search; Esc clears it"
    NextMatch "next_match" "Next row that was found"
    PreviousMatch "previous_match" "Row found before"
    AllRows "all_rows" "All rows, or only those found"
    NextFinding "next_finding" "Next row with a finding"
    PreviousFinding "previous_finding" "Row with a finding before"
    NextDataset "next_dataset" "Next data set"
    PreviousDataset "previous_dataset" "Previous data set"
    AskAbout "ask_about" "Ask the model about this sample"
    Findings "findings" "What was found in the data"
    AsTrained "as_trained" "Sample as trained: tokens, prompt, target, what is cut"
    EditCaption "edit_caption" "Edit the caption; kept beside the data"
    EditQuestion "edit_question" "Edit the question; kept beside the data"
    Exclude "exclude" "Exclude the row from training, or include it"
    CopyCaption "copy_caption" "Copy the caption to the clipboard"
    CopyPath "copy_path" "Copy the picture's path to the clipboard"
    CopyId "copy_id" "Copy the id to the clipboard"
    ScrollDown "scroll_down" "Scroll the text down"
    ScrollUp "scroll_up" "Scroll the text up"
    OwnPicture "own_picture" "Next picture of the sample"
    LastOwnPicture "last_own_picture" "Previous picture of the sample"
    FullPicture "full_picture" "Picture on the whole screen, and back"
    ZoomIn "zoom_in" "Zoom in: picture, chart"
    ZoomOut "zoom_out" "Zoom out"
    Fit "fit" "All of it again"
    Brighter "brighter" "Picture brighter (lower level)"
    Darker "darker" "Picture darker (higher level)"
    MoreContrast "more_contrast" "More contrast (narrower window)"
    LessContrast "less_contrast" "Less contrast (wider window)"
    AutoLevel "auto_level" "Window and level found for each picture"
    ResetLevel "reset_level" "Window and level as stored"
    Reload "reload" "Read the data again"
    Edit "edit" "Edit the value"
    NextValue "next_value" "Switch to the next value (on/off, choice)"
    Reset "reset" "Back to the preset's value"
    OnlyChanged "only_changed" "Show only what differs from the preset"
    Undo "undo" "Undo the last edit"
    Redo "redo" "Redo it"
    SaveSettings "save_settings" "Save the settings to a YAML file; keys it does not know stay"
    LoadSettings "load_settings" "Load settings: a preset, a YAML file or a run"
    DiffSettings "diff_settings" "What differs from a preset, a YAML file or a run"
    Train "train" "Start training"
    Pause "pause" "Pause and resume"
    SaveNow "save_now" "Save a checkpoint now"
    StopAndSave "stop_and_save" "Stop after saving a checkpoint"
    StopNow "stop_now" "Stop now, losing what is not saved"
    LogY "log_y" "Logarithmic loss axis"
    Smoothing "smoothing" "Show or hide the smoothed loss"
    LogView "log_view" "Charts or the whole log"
    LogLevel "log_level" "Log from level: all, notes, warnings, errors"
    XAxis "x_axis" "Along the bottom: step, epoch, time"
    NextCurve "next_curve" "Next curve: loss, learning rate, gradient norm, speed, memory"
    PreviousCurve "previous_curve" "Curve before"
    PanLeft "pan_left" "Earlier part of a zoomed chart"
    PanRight "pan_right" "Later part of a zoomed chart"
    ChangeSetting "change_setting" "Change learning rate, logging, saving while it trains"
    ExportPlot "export_plot" "Write the curves to a PNG, SVG or CSV file"
    OpenRun "open_run" "Open the run's curves and log"
    Mark "mark" "Mark the run, to compare or delete several"
    Compare "compare" "Compare the marked runs, or the run with the next one"
    ResumeRun "resume_run" "Go on with a stopped run from its newest checkpoint"
    UseSettings "use_settings" "Take the run's settings into the parameters"
    DeleteRun "delete_run" "Delete the run or the marked ones; asks"
    ImportRun "import_run" "Import an output folder of LLaMA-Factory"
    Write "write" "Write a question"
    EditLast "edit_last" "Edit the last question and ask it"
    CompareAnswers "compare_answers" "The last question of base model and adapter, side by side"
    CorrectAnswer "correct_answer" "Write the last answer as it should be"
    AddPair "add_pair" "Add the last question and answer to the data set 'corrected'"
    ShowOdds "show_odds" "Show how sure the model is of its words"
    ToggleBase "toggle_base" "Ask the adapter or the base model"
    Retry "retry" "Ask the last question again"
    StopAnswer "stop_answer" "Stop the answer"
    ClearTalk "clear_talk" "Start a new talk"
    NextPicture "next_picture" "Next sample's picture"
    PreviousPicture "previous_picture" "Previous sample's picture"
    ShowCaption "show_caption" "Show the sample's own caption"
    Evaluate "evaluate" "Evaluate base model and adapter on eval_dataset"
    SortSamples "sort_samples" "Samples in order, worst, best or most gained first"
    Down "down" "Down"
    Up "up" "Up"
    PageDown "page_down" "A page down"
    PageUp "page_up" "A page up"
    Top "top" "To the first"
    Bottom "bottom" "To the last"
    Left "left" "Left; reading cursor in charts"
    Right "right" "Right; reading cursor in charts"
    Demo "demo" "Unpack, convert and register the demo data"
    Convert "convert" "Convert and register parquet files"
    FocusData "focus_data" "Data"
    FocusParameters "focus_parameters" "Parameters"
    FocusTraining "focus_training" "Training"
    FocusChat "focus_chat" "Chat"
    FocusRuns "focus_runs" "Runs"
    FocusEvaluation "focus_evaluation" "Evaluation"
    NextPane "next_pane" "Next pane"
    PreviousPane "previous_pane" "Previous pane"
    Zoom "zoom" "One pane large, or all"
    Narrower "narrower" "Narrow the left column"
    Wider "wider" "Widen the left column"
    Lower "lower" "Lower the upper row"
    Taller "taller" "Heighten the upper row"
    Palette "palette" "All actions by name"
    Help "help" "This help"
    Repaint "repaint" "Draw the whole screen again"
    Back "back" "Close, leave, clear"
    Quit "quit" "Quit; asks while a job runs"
}

/// A key as bound: without the noise terminals add.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    pub ctrl: bool,
    pub alt: bool,
}

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        let code = match event.code {
            KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
            code => code,
        };
        let alt = event.modifiers.contains(KeyModifiers::ALT);
        Self { code, ctrl: event.modifiers.contains(KeyModifiers::CONTROL), alt }
    }
}

const NAMED: &[(&str, KeyCode, &str)] = &[
    ("up", KeyCode::Up, "↑"),
    ("down", KeyCode::Down, "↓"),
    ("left", KeyCode::Left, "←"),
    ("right", KeyCode::Right, "→"),
    ("enter", KeyCode::Enter, "Enter"),
    ("esc", KeyCode::Esc, "Esc"),
    ("tab", KeyCode::Tab, "Tab"),
    ("shift-tab", KeyCode::BackTab, "Shift-Tab"),
    ("space", KeyCode::Char(' '), "Space"),
    ("backspace", KeyCode::Backspace, "Backspace"),
    ("delete", KeyCode::Delete, "Del"),
    ("home", KeyCode::Home, "Home"),
    ("end", KeyCode::End, "End"),
    ("pageup", KeyCode::PageUp, "PgUp"),
    ("pagedown", KeyCode::PageDown, "PgDn"),
];

impl Key {
    /// Reads `ctrl-x`, `shift-tab`, `f1`, `G`.
    fn parse(text: &str) -> Result<Self> {
        let mut key = Key { code: KeyCode::Null, ctrl: false, alt: false };
        let mut rest = text;
        loop {
            if let Some(r) = rest.strip_prefix("ctrl-") {
                (key.ctrl, rest) = (true, r);
            } else if let Some(r) = rest.strip_prefix("alt-") {
                (key.alt, rest) = (true, r);
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        key.code = match (chars.next(), chars.next()) {
            (Some(c), None) => KeyCode::Char(c),
            _ => match NAMED.iter().find(|n| n.0 == rest) {
                Some(named) => named.1,
                None => KeyCode::F(rest.strip_prefix('f').and_then(|n| n.parse().ok()).ok_or_else(|| {
                    Error::usage(format!("keys.toml: no key is named \"{text}\""))
                        .hint("the names are listed at the top of configs/keys.toml")
                })?),
            },
        };
        Ok(key)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.ctrl {
            f.write_str("Ctrl-")?;
        }
        if self.alt {
            f.write_str("Alt-")?;
        }
        match (NAMED.iter().find(|n| n.1 == self.code), self.code) {
            (Some(named), _) => f.write_str(named.2),
            (None, KeyCode::Char(c)) => write!(f, "{c}"),
            (None, KeyCode::F(n)) => write!(f, "F{n}"),
            (None, code) => write!(f, "{code:?}"),
        }
    }
}

/// Where a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    Data,
    Picture,
    Parameters,
    Training,
    Chat,
    Runs,
    Evaluation,
    Lists,
    Everywhere,
}

impl Context {
    const ALL: [(Context, &str); 9] = [
        (Context::Data, "data"),
        (Context::Picture, "picture"),
        (Context::Parameters, "parameters"),
        (Context::Training, "training"),
        (Context::Chat, "chat"),
        (Context::Runs, "runs"),
        (Context::Evaluation, "evaluation"),
        (Context::Lists, "lists"),
        (Context::Everywhere, "everywhere"),
    ];
}

/// The key table.
pub struct Keymap {
    actions: HashMap<(Context, Key), Action>,
    keys: HashMap<(Context, Action), Vec<Key>>,
}

const EMBEDDED: &str = include_str!("../../configs/keys.toml");

impl Keymap {
    /// The table that comes with the program.
    pub fn embedded() -> Self {
        Self::parse(EMBEDDED).expect("a test reads the embedded key table")
    }

    fn parse(text: &str) -> Result<Self> {
        let table: HashMap<String, HashMap<String, Vec<String>>> =
            toml::from_str(text).map_err(|e| Error::usage(format!("keys.toml: {e}")))?;
        let (mut actions, mut keys) = (HashMap::new(), HashMap::new());
        for (section, bindings) in table {
            let context = Context::ALL.iter().find(|c| c.1 == section).map(|c| c.0);
            let context = context.ok_or_else(|| Error::usage(format!("keys.toml: no pane \"{section}\"")))?;
            for (name, texts) in bindings {
                let action = Action::ALL.iter().copied().find(|a| a.name() == name);
                let action =
                    action.ok_or_else(|| Error::usage(format!("keys.toml: no action \"{name}\"")))?;
                let bound = texts.iter().map(|t| Key::parse(t)).collect::<Result<Vec<_>>>()?;
                for key in &bound {
                    if let Some(other) = actions.insert((context, *key), action) {
                        let both = format!("{} and {}", other.name(), action.name());
                        return Err(Error::usage(format!("keys.toml: [{section}] {key} is bound to {both}")));
                    }
                }
                keys.insert((context, action), bound);
            }
        }
        Ok(Self { actions, keys })
    }

    /// The action of a key in a pane.
    pub fn action(&self, pane: Context, key: impl Into<Key>) -> Option<Action> {
        let key = key.into();
        [pane, Context::Lists, Context::Everywhere]
            .iter()
            .find_map(|context| self.actions.get(&(*context, key)).copied())
    }

    /// The first key of an action, one that works everywhere if there is one.
    pub fn hint(&self, action: Action) -> String {
        let bound = Context::ALL.iter().rev().find_map(|(c, _)| self.keys.get(&(*c, action))?.first());
        bound.map(Key::to_string).unwrap_or_default()
    }

    /// Actions bound in a context with their keys, in the order of the help.
    pub fn bound(&self, context: Context) -> Vec<(Action, String)> {
        let text = |action: &Action| {
            let keys = self.keys.get(&(context, *action))?;
            Some((*action, keys.iter().map(Key::to_string).collect::<Vec<_>>().join(" ")))
        };
        Action::ALL.iter().filter_map(text).collect()
    }

    /// The first key of an action in one context, else anywhere.
    pub fn hint_in(&self, context: Context, action: Action) -> String {
        match self.keys.get(&(context, action)).and_then(|keys| keys.first()) {
            Some(key) => key.to_string(),
            None => self.hint(action),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_key_and_a_distinct_name() {
        let keys = Keymap::parse(EMBEDDED).unwrap();
        for (i, action) in Action::ALL.iter().enumerate() {
            assert!(!keys.hint(*action).is_empty(), "{action:?} has no key");
            assert!(Action::ALL[..i].iter().all(|a| a.name() != action.name()), "{action:?}");
        }
    }

    #[test]
    fn panes_win_over_lists_and_everywhere() {
        let keys = Keymap::embedded();
        let key = |c| Key { code: KeyCode::Char(c), ctrl: false, alt: false };
        assert_eq!(keys.action(Context::Training, key('x')), Some(Action::StopAndSave));
        assert_eq!(keys.action(Context::Chat, key('x')), Some(Action::StopAnswer));
        assert_eq!(keys.action(Context::Chat, key('j')), Some(Action::Down));
        assert_eq!(keys.action(Context::Chat, key('?')), Some(Action::Help));
        let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(keys.action(Context::Data, ctrl_c), Some(Action::Quit));
    }

    #[test]
    fn mistakes_in_a_table_are_named() {
        let wrong = |text: &str| Keymap::parse(text).err().unwrap().message;
        assert!(wrong("[data]\nfly = [\"f\"]").contains("no action \"fly\""));
        assert!(wrong("[moon]\nup = [\"f\"]").contains("no pane \"moon\""));
        assert!(wrong("[data]\nup = [\"hyper-x\"]").contains("hyper-x"));
        assert!(wrong("[data]\nup = [\"x\"]\ndown = [\"x\"]").contains("is bound to"));
    }
}
