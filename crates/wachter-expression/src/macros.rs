//! The parser expands `all`, `exists`, `exists_one`, `map` and `filter` into one general loop. Here
//! each is told apart again, so that it can run as what it is.

use cel::common::ast::{ComprehensionExpr, Expr, LiteralValue, operators};
use cel::parser::Expression as Tree;

use crate::node::LoopKind;

/// What a loop does with each element.
pub(crate) struct Macro<'t> {
    pub(crate) kind: LoopKind,
    /// What is asked of each element.
    pub(crate) condition: Option<&'t Tree>,
    /// What is made of each element.
    pub(crate) transform: Option<&'t Tree>,
}

/// The macro that a loop came from; `None` for what no macro of ours makes.
pub(crate) fn recognise(general: &ComprehensionExpr) -> Option<Macro<'_>> {
    if general.iter_var2.is_some() {
        return None;
    }
    let result = |tree: &Tree| matches!(&tree.expr, Expr::Ident(name) if *name == general.accu_var);
    match call(&general.loop_step)? {
        (operators::LOGICAL_AND, [left, condition]) if result(left) => {
            Some(Macro { kind: LoopKind::All, condition: Some(condition), transform: None })
        }
        (operators::LOGICAL_OR, [left, condition]) if result(left) => {
            Some(Macro { kind: LoopKind::Exists, condition: Some(condition), transform: None })
        }
        (operators::ADD, [left, right]) if result(left) => {
            let transform = Some(only_element(right)?);
            Some(Macro { kind: LoopKind::Collect, condition: None, transform })
        }
        (operators::CONDITIONAL, [condition, step, otherwise]) if result(otherwise) => {
            match call(step)? {
                (operators::ADD, [left, right]) if result(left) => {
                    if matches!(&right.expr, Expr::Literal(LiteralValue::Int(_))) {
                        let kind = LoopKind::ExistsOne;
                        return Some(Macro { kind, condition: Some(condition), transform: None });
                    }
                    let transform = Some(only_element(right)?);
                    Some(Macro { kind: LoopKind::Collect, condition: Some(condition), transform })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn call(tree: &Tree) -> Option<(&str, &[Tree])> {
    match &tree.expr {
        Expr::Call(call) if call.target.is_none() => Some((&call.func_name, &call.args)),
        _ => None,
    }
}

fn only_element(tree: &Tree) -> Option<&Tree> {
    match &tree.expr {
        Expr::List(list) => match list.elements.as_slice() {
            [element] => Some(element),
            _ => None,
        },
        _ => None,
    }
}
