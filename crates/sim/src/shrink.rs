//! Makes a script that finds something as short as it can be: steps, callers and operations are
//! left out as long as it still finds the same.

use crate::callers::Op;
use crate::plan::Settings;
use crate::script::Script;

/// The shortest script for which `fails` holds, among those that come of leaving things out one
/// after another.
pub(crate) fn shrink(script: Script, fails: impl Fn(&Script) -> bool) -> Script {
    let mut best = script;
    loop {
        let before = size(&best);
        shrink_steps(&mut best, &fails);
        shrink_callers(&mut best, &fails);
        simplify(&mut best, &fails);
        if size(&best) == before {
            return best;
        }
    }
}

fn size(script: &Script) -> usize {
    script.to_string().len()
}

/// Leaves out runs of steps, long ones first.
fn shrink_steps(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    let mut length = best.steps.len().next_power_of_two();
    while length > 0 {
        let mut at = best.steps.len().saturating_sub(length);
        loop {
            let mut tried = best.clone();
            let end = (at + length).min(tried.steps.len());
            if at < end {
                tried.steps.drain(at..end);
                if fails(&tried) {
                    *best = tried;
                }
            }
            if at == 0 {
                break;
            }
            at = at.saturating_sub(length);
        }
        length /= 2;
    }
}

/// Leaves out callers, then operations wherever they are.
fn shrink_callers(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    for at in (0..best.plan.callers.len()).rev() {
        let mut tried = best.clone();
        tried.plan.callers.remove(at);
        if fails(&tried) {
            *best = tried;
        }
    }
    let ids: Vec<u32> = best.plan.ops().map(|(_, op)| op.id).collect();
    for id in ids.into_iter().rev() {
        let mut tried = best.clone();
        for caller in &mut tried.plan.callers {
            remove(&mut caller.ops, id);
        }
        if tried != *best && fails(&tried) {
            *best = tried;
        }
    }
}

fn remove(ops: &mut Vec<Op>, id: u32) {
    ops.retain(|op| op.id != id);
    for op in ops {
        remove(&mut op.body, id);
    }
}

/// Takes from the settings and the operations what is not needed.
fn simplify(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    let mut tried = best.clone();
    tried.plan.settings = Settings { end: best.plan.settings.end, ..Settings::default() };
    if tried != *best && fails(&tried) {
        *best = tried;
    }
    let changes: [fn(&mut Op); 6] = [
        |op| op.handle = false,
        |op| op.limit = None,
        |op| op.drops = false,
        |op| op.take = None,
        |op| op.bytes = None,
        |op| {
            let (token, inserts) = (op.work.token, op.work.inserts);
            let (rows, ms) = (op.work.rows, op.work.ms);
            op.work = crate::server::Work { inserts, token, rows, ms, ..Default::default() };
        },
    ];
    let ids: Vec<u32> = best.plan.ops().map(|(_, op)| op.id).collect();
    for id in ids {
        for change in changes {
            let mut tried = best.clone();
            for caller in &mut tried.plan.callers {
                alter(&mut caller.ops, id, change);
            }
            if tried != *best && fails(&tried) {
                *best = tried;
            }
        }
    }
}

fn alter(ops: &mut [Op], id: u32, change: fn(&mut Op)) {
    for op in ops {
        if op.id == id {
            change(op);
        }
        alter(&mut op.body, id, change);
    }
}
