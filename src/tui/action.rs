//! What a user can want.

pub use super::keys::{Context, Key, Keymap};

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
    SaveSettings "save_settings" "Save the settings to a YAML file, keeping unknown keys"
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
    NextCurve "next_curve" "Next curve: loss, rate, gradient norm, speed, memory"
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
    CompareAnswers "compare_answers" "The last question to base and adapter, side by side"
    CorrectAnswer "correct_answer" "Write the last answer as it should be"
    AddPair "add_pair" "Add question and answer to the data set 'corrected'"
    ShowOdds "show_odds" "Show how sure the model is of its words"
    CompareWith "compare_with" "The last question to another model beside it"
    ChooseAnswerer "choose_answerer" "Who answers: the base model, one of the adapters"
    TalkSettings "talk_settings" "System text and sampling of the talk"
    SaveTalk "save_talk" "Save the talk as ShareGPT"
    LoadTalk "load_talk" "Load a talk from a ShareGPT file"
    ToggleBase "toggle_base" "Ask the adapter or the base model"
    Retry "retry" "Ask the last question again"
    StopAnswer "stop_answer" "Stop the answer"
    ClearTalk "clear_talk" "Start a new talk"
    DropPicture "drop_picture" "Take the picture that was added last away again"
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
    TakeControls "take_controls" "Take the controls of a run, or leave them"
    Detach "detach" "Leave the workbench; a run goes on"
    NextTheme "next_theme" "Next theme: dark, light, high contrast, colour-blind"
    NextLanguage "next_language" "English or Chinese"
    LowBandwidth "low_bandwidth" "Low-bandwidth mode: fewer frames for a slow line"
    Palette "palette" "All actions by name"
    Help "help" "This help"
    Repaint "repaint" "Draw the whole screen again"
    Back "back" "Close, leave, clear"
    Quit "quit" "Quit; asks while a job runs"
}
