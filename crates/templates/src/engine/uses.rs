//! Which places of the data a compiled source uses, with the lines where it does.
//!
//! As in the scan, scopes are followed through `each`, `with`, block parameters, `../` and `@root`. What comes out of a helper
//! (`lookup`, a subexpression) has no place of its own; what went into it has.

use handlebars::template::{BlockParam, HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template as Parsed};

use super::compile::Compiled;

/// One step from the data towards a value inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// A field's name, or the number of a list's item.
    Field(String),
    /// Any item of a list, any value of an object.
    Item,
}

/// A place of the data that a source uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Never empty; several where only the data knows which of them it is.
    pub(crate) places: Vec<Vec<Step>>,
    pub(crate) line: Option<usize>,
    /// As it is written.
    pub(crate) written: String,
    /// True if any value inside of it may be used too, by a name that only the data knows.
    pub(crate) whole: bool,
}

impl Compiled {
    /// Everything that the source uses, in its order.
    pub(crate) fn uses(&self) -> Vec<Use> {
        let mut walk = Walk {
            uses: Vec::new(),
            line: None,
            partials: 0,
            scopes: vec![Scope::of(vec![Vec::new()])],
            names: Vec::new(),
            callers: Vec::new(),
        };
        walk.template(&self.template);
        walk.uses
    }
}

/// The places that something may be; none for what a helper made.
type Places = Vec<Vec<Step>>;

/// Sections within each other may be ever more places: past so many they count as made by a helper.
const PLACES_MAX: usize = 32;

/// The depth of what it walks over is bounded by the scan.
struct Walk {
    uses: Vec<Use>,
    line: Option<usize>,
    /// So many partials are around. What they use is told by the line that includes them.
    partials: usize,
    scopes: Vec<Scope>,
    /// Block parameters that the source here has, the innermost last.
    names: Vec<(String, Places)>,
    /// Those of the sources that include it.
    callers: Vec<Vec<(String, Places)>>,
}

struct Scope {
    places: Places,
    /// What a partial is given by name.
    given: Vec<(String, Places)>,
}

impl Scope {
    const fn of(places: Places) -> Self {
        let given = Vec::new();
        Self { places, given }
    }
}

impl Walk {
    fn template(&mut self, template: &Parsed) {
        for (index, element) in template.elements.iter().enumerate() {
            if let Some(place) = template.mapping.get(index)
                && self.partials == 0
            {
                self.line = Some(place.0);
            }
            match element {
                TemplateElement::Expression(helper) | TemplateElement::HtmlExpression(helper) => {
                    self.expression(helper);
                }
                TemplateElement::HelperBlock(helper) => self.block(helper),
                _ => {}
            }
        }
    }

    fn expression(&mut self, helper: &HelperTemplate) {
        if helper.params.is_empty() && helper.hash.is_empty() {
            self.parameter(&helper.name);
        } else {
            self.parameters(helper);
        }
    }

    /// Notes what a helper is given, and tells where its first parameter is.
    fn parameters(&mut self, helper: &HelperTemplate) -> Places {
        let mut first = Places::new();
        let is_lookup = helper.name.as_name() == Some("lookup");
        for (index, parameter) in helper.params.iter().enumerate() {
            let noted = self.uses.len();
            let places = self.parameter(parameter);
            if index == 0 {
                first = places;
                self.uses[noted..]
                    .iter_mut()
                    .for_each(|used| used.whole |= is_lookup);
            }
        }
        for parameter in helper.hash.values() {
            self.parameter(parameter);
        }
        first
    }

    fn block(&mut self, helper: &HelperTemplate) {
        if super::partials::name_of(helper).is_some() {
            return self.partial(helper);
        }
        let name = helper.name.as_name().unwrap_or_default();
        let is_section = super::lower::is_section(name, helper);
        let mut places = if is_section {
            self.section(&helper.name)
        } else {
            self.parameters(helper)
        };
        let each = name == "each";
        let scoped = each || name == "with" || is_section;
        let named = self.names.len();
        if scoped {
            if each {
                places.iter_mut().for_each(|place| place.push(Step::Item));
            }
            match &helper.block_param {
                Some(BlockParam::Single(item)) => self.name(item, places.clone()),
                Some(BlockParam::Pair((item, key))) => {
                    self.name(item, places.clone());
                    self.name(key, Places::new());
                }
                _ => {}
            }
            self.scopes.push(Scope::of(places));
        }
        if let Some(inner) = &helper.template {
            self.template(inner);
        }
        if scoped {
            self.scopes.pop();
        }
        self.names.truncate(named);
        if let Some(inverse) = &helper.inverse {
            self.template(inverse);
        }
    }

    /// A partial's scope is what it is given, or the one around; what it is given by name has a name there.
    fn partial(&mut self, helper: &HelperTemplate) {
        let mut scope = Scope::of(self.around());
        if let Some(given) = helper.params.first() {
            scope.places = self.parameter(given);
        }
        for (name, given) in &helper.hash {
            let places = self.parameter(given);
            scope.given.push((name.clone(), places));
        }
        let is_scoped = !helper.params.is_empty() || !helper.hash.is_empty();
        self.scopes.extend(is_scoped.then_some(scope));
        self.partials += 1;
        if let Some(inside) = &helper.template {
            self.included(super::partials::name_of(helper), inside);
        }
        self.partials -= 1;
        self.scopes.truncate(self.scopes.len() - usize::from(is_scoped));
    }

    /// Another text, which knows nothing of the block parameters here; or the caller's own, by which its layout is filled.
    fn included(&mut self, name: Option<&str>, inside: &Parsed) {
        let is_callers = name == Some(super::partials::BLOCK);
        let callers = if is_callers { self.callers.pop() } else { None };
        let fills = callers.is_some();
        let here = std::mem::replace(&mut self.names, callers.unwrap_or_default());
        if fills {
            self.template(inside);
            let callers = std::mem::replace(&mut self.names, here);
            self.callers.push(callers);
        } else {
            self.callers.push(here);
            self.template(inside);
            self.names = self.callers.pop().unwrap_or_default();
        }
    }

    fn around(&self) -> Places {
        let scope = self.scopes.last();
        scope.map(|scope| scope.places.clone()).unwrap_or_default()
    }

    /// Only the data knows whether it is of each item, of the value itself, or, where that is `true`, of what is around.
    fn section(&mut self, name: &Parameter) -> Places {
        let mut places = self.parameter(name);
        if places.is_empty() {
            return places;
        }
        let items = places.clone().into_iter().map(|mut place| {
            place.push(Step::Item);
            place
        });
        places.extend(items.chain(self.around()).collect::<Vec<_>>());
        if places.len() > PLACES_MAX {
            places.clear();
        }
        places
    }

    fn name(&mut self, parameter: &Parameter, places: Places) {
        if let Some(name) = parameter.as_name() {
            self.names.push((name.to_owned(), places));
        }
    }

    fn parameter(&mut self, parameter: &Parameter) -> Places {
        let (places, written) = match parameter {
            Parameter::Path(Path::Relative((segments, raw))) => (self.resolve(segments, raw), raw),
            Parameter::Name(name) => match Path::parse(name) {
                Ok(Path::Relative((segments, _))) => (self.resolve(&segments, name), name),
                _ => return Places::new(),
            },
            Parameter::Subexpression(sub) => {
                if let TemplateElement::Expression(helper) = sub.as_element() {
                    self.expression(helper);
                }
                return Places::new();
            }
            _ => return Places::new(),
        };
        if !places.is_empty() {
            self.uses.push(Use {
                places: places.clone(),
                line: self.line,
                written: written.clone(),
                whole: false,
            });
        }
        places
    }

    /// As handlebars finds its way: `@root`, then block parameters, then as many scopes up as there are `../` and what a partial is
    /// given by name there.
    fn resolve(&self, segments: &[PathSeg], raw: &str) -> Places {
        let named: Vec<&String> = segments
            .iter()
            .filter_map(|segment| match segment {
                PathSeg::Named(name) => Some(name),
                _ => None,
            })
            .collect();
        let up = segments.len() - named.len();
        let is_scoped = raw.starts_with("this.") || raw.starts_with("this/") || raw.starts_with("./");
        let by_name = |(name, _): &&(String, Places)| Some(&name) == named.first();
        let scope = &self.scopes[self.scopes.len().saturating_sub(up + 1)];
        let params = self.names.iter().rev().filter(|_| up == 0 && !is_scoped);
        let (bases, rest) = if raw.starts_with("@root") {
            (vec![Vec::new()], &named[..])
        } else if let Some((_, places)) = params.chain(&scope.given).find(by_name) {
            (places.clone(), &named[1..])
        } else {
            (scope.places.clone(), &named[..])
        };
        let inside = |mut place: Vec<Step>| {
            // The length is a list's or a text's, no field of it.
            let rest = match rest {
                [inside @ .., last] if !(place.is_empty() && inside.is_empty()) && *last == "length" => {
                    inside
                }
                rest => rest,
            };
            place.extend(rest.iter().map(|name| Step::Field((*name).clone())));
            place
        };
        bases.into_iter().map(inside).collect()
    }
}
