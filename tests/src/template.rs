//! Configuration files with `{{name}}` in them.

use anyhow::{Context as _, bail, ensure};

/// Fills in every `{{name}}` of a template.
///
/// # Errors
/// A name has no value, or a value holds a line break where the text around it does not expect one.
pub fn render(template: &str, values: &[(&str, String)]) -> anyhow::Result<String> {
    let mut output = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a `{{` without its `}}`")?;
        output.push_str(before);
        let Some((_, value)) = values.iter().find(|(known, _)| *known == name) else {
            bail!("no value for `{{{{{name}}}}}`")
        };
        let stands_alone = before.is_empty() || before.ends_with('\n');
        ensure!(
            stands_alone || !value.contains('\n'),
            "the value of `{{{{{name}}}}}` breaks the line"
        );
        output.push_str(value);
        rest = after;
    }
    output.push_str(rest);
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in() {
        let values = [("a", "1".to_owned()), ("b", "x\ny".to_owned())];
        assert_eq!(
            render("a = {{a}};\n{{b}}\n", &values).unwrap(),
            "a = 1;\nx\ny\n"
        );
    }

    #[test]
    fn refuses_unknown_names_and_smuggled_lines() {
        assert!(render("{{c}}", &[]).is_err());
        assert!(render("b = {{b}}", &[("b", "x\ny".to_owned())]).is_err());
        assert!(render("{{b", &[]).is_err());
    }
}
