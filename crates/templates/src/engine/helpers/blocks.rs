//! `if`, `unless`, `each`, `with`.

use handlebars::{
    BlockContext, BlockParams, Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output,
    PathAndJson, RenderContext, RenderError, RenderErrorReason, Renderable,
};
use serde_json::Value;

use super::super::error::RenderFault;
use super::super::meter;

/// `{{#if value}}..{{else}}..{{/if}}`, and `unless` with the opposite `wanted`. `includeZero=true` makes 0 true.
pub(super) struct If {
    pub(super) wanted: bool,
}

impl HelperDef for If {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        meter::step()?;
        let include_zero = h
            .hash_get("includeZero")
            .and_then(|value| value.value().as_bool())
            .unwrap_or(false);
        let truth = first(h, "if")?.value().is_truthy(include_zero);
        let branch = if truth == self.wanted {
            h.template()
        } else {
            h.inverse()
        };
        branch.map_or(Ok(()), |branch| branch.render(r, ctx, rc, out))
    }
}

/// `{{#with value as |name|}}..{{else}}..{{/with}}`.
pub(super) struct With;

impl HelperDef for With {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        meter::step()?;
        let param = first(h, "with")?;
        if !param.value().is_truthy(false) {
            return h
                .inverse()
                .map_or(Ok(()), |branch| branch.render(r, ctx, rc, out));
        }
        let mut block = block_of(param);
        if let Some(outer) = rc.block() {
            // `@index` and its like stay those of the loop around.
            block.local_variables_mut().clone_from(outer.local_variables());
        }
        if let Some(name) = h.block_param() {
            let mut params = BlockParams::new();
            add_item(&mut params, name, param, param.value())?;
            block.set_block_params(params);
        }
        rc.push_block(block);
        let rendered = h.template().map_or(Ok(()), |inner| inner.render(r, ctx, rc, out));
        rc.pop_block();
        rendered
    }
}

/// `{{#each list as |item index|}}..{{else}}..{{/each}}`, over an array or an object, with `@index`, `@key`, `@first`, `@last`.
pub(super) struct Each;

impl HelperDef for Each {
    fn call<'reg: 'rc, 'rc>(
        &self,
        h: &Helper<'rc>,
        r: &'reg Handlebars<'reg>,
        ctx: &'rc Context,
        rc: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let param = first(h, "each")?;
        let items: Vec<(Value, String, &Value)> = match param.value() {
            Value::Array(list) => {
                meter::rounds(list.len())?;
                let item = |(index, item): (usize, _)| (Value::from(index), index.to_string(), item);
                list.iter().enumerate().map(item).collect()
            }
            Value::Object(object) => {
                meter::rounds(object.len())?;
                let item = |(key, item): (&String, _)| (Value::from(key.as_str()), key.clone(), item);
                object.iter().map(item).collect()
            }
            value if value.is_truthy(true) => {
                return Err(RenderFault::Helper {
                    helper: "each",
                    problem: "is neither over a list nor over an object",
                }
                .into());
            }
            _ => {
                meter::step()?;
                Vec::new()
            }
        };
        if items.is_empty() {
            return h
                .inverse()
                .map_or(Ok(()), |branch| branch.render(r, ctx, rc, out));
        }
        let Some(inner) = h.template() else {
            return Ok(());
        };
        let keyed = param.value().is_object();
        let last = items.len() - 1;
        rc.push_block(block_of(param));
        for (index, (key, step, item)) in items.into_iter().enumerate() {
            if let Some(block) = rc.block_mut() {
                block.set_local_var("first", Value::from(index == 0));
                block.set_local_var("last", Value::from(index == last));
                block.set_local_var("index", Value::from(index));
                if keyed {
                    block.set_local_var("key", key.clone());
                }
                enter(block, h, param, (step, key, item), index == 0)?;
            }
            meter::step()?;
            inner.render(r, ctx, rc, out)?;
        }
        rc.pop_block();
        Ok(())
    }
}

fn first<'a, 'rc>(h: &'a Helper<'rc>, name: &'static str) -> Result<&'a PathAndJson<'rc>, RenderError> {
    h.param(0)
        .ok_or_else(|| RenderErrorReason::ParamNotFoundForIndex(name, 0).into())
}

/// The scope of `param`: a path into the data where there is one, or a copy of a helper's value.
fn block_of<'rc>(param: &PathAndJson<'rc>) -> BlockContext<'rc> {
    let mut block = BlockContext::new();
    match param.context_path() {
        Some(path) => block.base_path_mut().clone_from(path),
        None => block.set_base_value(param.value().clone()),
    }
    block
}

/// Moves the scope of a loop to its next item.
fn enter<'rc>(
    block: &mut BlockContext<'rc>,
    h: &Helper<'rc>,
    param: &PathAndJson<'rc>,
    (step, key, item): (String, Value, &Value),
    is_first: bool,
) -> Result<(), RenderError> {
    if param.context_path().is_none() {
        block.set_base_value(item.clone());
    } else if is_first {
        block.base_path_mut().push(step);
    } else if let Some(last) = block.base_path_mut().last_mut() {
        *last = step;
    }
    let (item_name, key_name) = match (h.block_param_pair(), h.block_param()) {
        (Some((item_name, key_name)), _) => (item_name, Some(key_name)),
        (None, Some(item_name)) => (item_name, None),
        (None, None) => return Ok(()),
    };
    let mut params = BlockParams::new();
    add_item(&mut params, item_name, param, item)?;
    if let Some(key_name) = key_name {
        params.add_value(key_name, key)?;
    }
    block.set_block_params(params);
    Ok(())
}

/// Names the scope's own item: by its path, which is the scope's, or as a copy.
fn add_item<'rc>(
    params: &mut BlockParams<'rc>,
    name: &'rc str,
    param: &PathAndJson<'rc>,
    item: &Value,
) -> Result<(), RenderError> {
    if param.context_path().is_some() {
        params.add_path(name, Vec::new())
    } else {
        params.add_value(name, item.clone())
    }
}
