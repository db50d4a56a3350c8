//! Selectors choose objects by their labels: `rack=r1,role!=gw`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{id::Name, object::Labels};

/// Most requirements of one selector.
pub const REQUIREMENTS_MAX: usize = 16;

/// A text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not part of a selector: write label=value, label!=value, label or !label")]
pub struct InvalidSelector {
    part: String,
}

/// A conjunction of requirements on labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Is(Name, String),
    IsNot(Name, String),
    Has(Name),
    HasNot(Name),
}

impl Selector {
    /// Whether labels meet every requirement. A label that is absent differs from every value.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(name, value) => labels.get(name) == Some(value),
            Requirement::IsNot(name, value) => labels.get(name) != Some(value),
            Requirement::Has(name) => labels.contains_key(name),
            Requirement::HasNot(name) => !labels.contains_key(name),
        })
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;
    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        let requirements = text.split(',').map(|part| requirement(part.trim()));
        let requirements: Vec<Requirement> = requirements.collect::<Result<_, _>>()?;
        if requirements.len() > REQUIREMENTS_MAX {
            return Err(InvalidSelector { part: text.to_owned() });
        }
        Ok(Self(requirements))
    }
}

fn requirement(part: &str) -> Result<Requirement, InvalidSelector> {
    let name =
        |text: &str| Name::new(text.trim()).map_err(|_| InvalidSelector { part: part.to_owned() });
    if let Some((label, value)) = part.split_once("!=") {
        Ok(Requirement::IsNot(name(label)?, value.trim().to_owned()))
    } else if let Some((label, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        Ok(Requirement::Is(name(label)?, value.trim().to_owned()))
    } else if let Some(label) = part.strip_prefix('!') {
        Ok(Requirement::HasNot(name(label)?))
    } else {
        Ok(Requirement::Has(name(part)?))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::Is(name, value) => write!(f, "{name}={value}")?,
                Requirement::IsNot(name, value) => write!(f, "{name}!={value}")?,
                Requirement::Has(name) => write!(f, "{name}")?,
                Requirement::HasNot(name) => write!(f, "!{name}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Selector {
    type Error = InvalidSelector;
    fn try_from(text: String) -> Result<Self, InvalidSelector> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> Self {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_selects_what_it_says() {
        let labels: Labels = [("rack", "r1"), ("role", "web")]
            .map(|(k, v)| (Name::new(k).unwrap(), v.into()))
            .into();
        for (text, expected) in [
            ("rack=r1", true),
            ("rack==r1", true),
            ("rack=r2", false),
            ("rack=r1,role!=gw", true),
            ("rack!=r1", false),
            ("zone!=z1", true),
            ("rack", true),
            ("!rack", false),
            ("!zone, role=web", true),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), expected, "{text}");
            assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "=x", "a=b,,c=d", "a b=c", "!"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
