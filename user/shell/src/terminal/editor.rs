//! The line editor at a real terminal: reedline with completion, colours, hints and history.
//!
//! It runs outside the runtime, which needs no thread of its own for it; what it has to know of the shell is gathered
//! before each line.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nu_ansi_term::{Color, Style};
use reedline::{
    ColumnarMenu, Completer, CompletionResult, DefaultHinter, Emacs, Highlighter, KeyCode, KeyModifiers, MenuBuilder,
    Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline, ReedlineEvent, ReedlineMenu,
    Signal, Span, StyledText, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};

use super::completion::Knowledge;
use super::words::{Kind, pieces};
use super::{Line, Reader};
use crate::session::{Session, is_incomplete, parse};

const MENU: &str = "completion";

type Shared = Arc<Mutex<Knowledge>>;

fn look(shared: &Shared) -> MutexGuard<'_, Knowledge> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// reedline and what it knows.
pub struct Editor {
    reedline: Reedline,
    knowledge: Shared,
}

impl Editor {
    /// An editor for the terminal on the standard input.
    pub fn new() -> Self {
        let knowledge = Shared::default();
        let mut keys = default_emacs_keybindings();
        let next = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(next));
        keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
        let menu = ColumnarMenu::default().with_name(MENU).with_marker("");
        let hinter = DefaultHinter::default().with_style(Style::new().fg(Color::DarkGray));
        let reedline = Reedline::create()
            .with_completer(Box::new(Helper(knowledge.clone())))
            .with_highlighter(Box::new(Helper(knowledge.clone())))
            .with_validator(Box::new(Helper(knowledge.clone())))
            .with_hinter(Box::new(hinter))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_edit_mode(Box::new(Emacs::new(keys)));
        Self { reedline, knowledge }
    }
}

impl Reader for Editor {
    fn line(&mut self, session: &mut Session, prompt: &str) -> Line {
        *look(&self.knowledge) = Knowledge::of(session.shell());
        match self.reedline.read_line(&Text(prompt)) {
            Ok(Signal::Success(line)) => Line::Text(line + "\n"),
            Ok(Signal::CtrlC) => Line::Interrupted,
            _ => Line::End,
        }
    }
}

/// What reedline asks for help.
struct Helper(Shared);

impl Completer for Helper {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let (start, candidates) = look(&self.0).complete(line, position);
        let suggestion = |candidate: super::completion::Candidate| Suggestion {
            value: candidate.text,
            span: Span::new(start, position),
            append_whitespace: candidate.finished,
            ..Suggestion::default()
        };
        CompletionResult::fresh(candidates.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

impl Highlighter for Helper {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        for piece in pieces(line) {
            let text = &line[piece.range];
            let style = match piece.kind {
                Kind::Command if look(&self.0).is_command(text) => Style::new().fg(Color::Green),
                Kind::Command | Kind::Blank => Style::new(),
                Kind::Word if text.starts_with(['"', '\'']) => Style::new().fg(Color::Yellow),
                Kind::Word if text.starts_with('$') => Style::new().fg(Color::Cyan),
                Kind::Word => Style::new(),
                Kind::Operator => Style::new().bold(),
                Kind::Comment => Style::new().fg(Color::DarkGray),
            };
            styled.push((style, text.to_owned()));
        }
        styled
    }
}

impl Validator for Helper {
    fn validate(&self, line: &str) -> ValidationResult {
        if parse(line).is_err_and(|error| is_incomplete(&error)) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Complete
        }
    }
}

/// The prompt, as the shell made it.
struct Text<'a>(&'a str);

impl Prompt for Text<'_> {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        self.0.into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failing = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "failing ",
        };
        format!("({failing}search: {}) ", search.term).into()
    }

    fn get_prompt_color(&self) -> Color {
        Color::Default
    }
}
