//! `docs/configuration.md` says what the code does. `UPDATE_DOCS=1 cargo test -p inferscope --test docs_configuration`
//! brings its generated parts up to date.
#![expect(unused_crate_dependencies, reason = "those of the library")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use inferscope::config::{Config, Section, Setting, VARIABLES, sections};

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md")
}

#[test]
fn the_page_is_up_to_date() {
    let page = page();
    let text = fs::read_to_string(&page).unwrap();
    let fresh = replace(&replace(&text, "settings", &settings()).unwrap(), "variables", &variables()).unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, fresh).unwrap();
    } else {
        assert!(fresh == text, "out of date: UPDATE_DOCS=1 cargo test -p inferscope --test docs_configuration");
    }
}

#[test]
fn its_examples_are_accepted() {
    let text = fs::read_to_string(page()).unwrap();
    let examples: Vec<_> = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), example).unwrap();
        Config::load(Some(file.path()), &|_| None).unwrap_or_else(|error| panic!("{example}\n{error}"));
    }
}

/// Puts fresh text between the marks of a generated part; `None` without them.
fn replace(text: &str, part: &str, fresh: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {part}: generated -->\n"), format!("<!-- end of {part} -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{fresh}{end}{after}"))
}

fn settings() -> String {
    let sections = sections();
    let (own, general): (Vec<_>, Vec<_>) = sections.iter().partition(|section| section.name.starts_with("otlp."));
    let general =
        general.into_iter().map(|section| table(&format!("`[{}]`", section.name), &section.description, section));
    // The tables of the three signals are the same.
    assert!(own.iter().all(|section| section.settings == own[0].settings));
    let title: Vec<_> = own.iter().map(|section| format!("`[{}]`", section.name)).collect();
    let description =
        "For one signal alone, in place of the same settings in `[otlp]`: metrics, spans, the agent's own log.";
    general.chain([table(&title.join(", "), description, own[0])]).collect()
}

fn table(title: &str, description: &str, section: &Section) -> String {
    let rows = section.settings.iter().map(|setting| {
        let default = setting.default.as_ref().map(|value| format!("`{value}`")).unwrap_or_default();
        format!("| `{}` | {default} | {} | {} |\n", setting.name, accepts(setting), setting.description)
    });
    let head = "| setting | default | accepted | |\n| --- | --- | --- | --- |\n";
    format!("### {title}\n\n{description}\n\n{head}{}\n", rows.collect::<String>())
}

fn accepts(setting: &Setting) -> String {
    if setting.words.is_empty() {
        return setting.limits.clone().unwrap_or_else(|| setting.accepts.clone());
    }
    let words: Vec<_> = setting.words.iter().map(|(word, meaning)| format!("`\"{word}\"`: {meaning}")).collect();
    words.join("<br>")
}

fn variables() -> String {
    let of_one_signal = |setting: &str| setting.starts_with("otlp.") && setting.matches('.').count() > 1;
    let general = VARIABLES.iter().filter(|variable| !of_one_signal(variable.setting));
    let rows = general.map(|variable| {
        let (section, name) = variable.setting.rsplit_once('.').unwrap_or_default();
        format!("| `{}` | `{name}` of `[{section}]` | {} |\n", variable.name, variable.form())
    });
    format!("| variable | setting | written |\n| --- | --- | --- |\n{}", rows.collect::<String>())
}
