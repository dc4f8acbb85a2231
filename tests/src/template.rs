//! Configuration files, which are templates in the part of Jinja's language that Ansible and `minijinja` share.
//!
//! Those of Postfix, Dovecot and nginx are the ones that `ansible/` puts onto public relays.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

/// Fills in a template, which may also say what a private instance has otherwise than a public relay.
///
/// # Errors
/// The template is not right or has a name without a value, or a value holds a line break: it would become
/// another line of the configuration.
pub fn render(template: &str, values: &[(&str, Value)]) -> anyhow::Result<String> {
    for (name, value) in values {
        ensure!(!breaks_line(value), "the value of `{name}` breaks the line");
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // As Ansible has it.
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .keep_trailing_newline(true)
            .build()?,
    );
    let values = values
        .iter()
        .cloned()
        .chain([("private_instance", Value::from(true))])
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<BTreeMap<_, _>>();
    environment
        .render_str(template, Value::from(values))
        .context("a configuration file's template")
}

/// Whether a text or one of a list of texts holds a line break.
fn breaks_line(value: &Value) -> bool {
    match value.as_str() {
        Some(text) => text.contains(['\n', '\r']),
        None => value
            .try_iter()
            .is_ok_and(|mut items| items.any(|item| breaks_line(&item))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in() {
        let values = [("a", "1".into()), ("b", vec!["x", "y"].into())];
        let template = "a = {{ a }};\n{% for each in b %}\n{{ each }}\n{% endfor %}\n{% if not private_instance %}\npublic\n{% endif %}\n";
        assert_eq!(render(template, &values).unwrap(), "a = 1;\nx\ny\n");
    }

    #[test]
    fn refuses_unknown_names_and_smuggled_lines() {
        assert!(render("{{ c }}", &[]).is_err());
        assert!(render("{% if c %}{% endif %}", &[]).is_err());
        assert!(render("b = {{ b }}", &[("b", "x\ny".into())]).is_err());
        assert!(render("b", &[("b", vec!["x", "x\ry"].into())]).is_err());
        assert!(render("{{ b", &[]).is_err());
    }
}
