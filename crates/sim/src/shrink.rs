//! Makes a script that finds something as short as it can be: steps, callers and operations are
//! left out as long as it still finds the same.

use crate::callers::{End, Op};
use crate::plan::Settings;
use crate::script::Script;
use crate::server::Work;

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
        attempt(best, fails, |tried| {
            tried.plan.callers.remove(at);
        });
    }
    let ids: Vec<u32> = best.plan.ops().map(|(_, op)| op.id).collect();
    for id in ids.into_iter().rev() {
        attempt(best, fails, |tried| {
            for caller in &mut tried.plan.callers {
                remove(&mut caller.ops, id);
            }
        });
    }
}

fn remove(ops: &mut Vec<Op>, id: u32) {
    ops.retain(|op| op.id != id);
    for op in ops {
        remove(&mut op.body, id);
    }
}

/// Puts in the place of an operation what it has in it.
fn hoist(ops: &mut Vec<Op>, id: u32) {
    let body_of = |op: Op| if op.id == id { op.body } else { vec![op] };
    *ops = std::mem::take(ops).into_iter().flat_map(body_of).collect();
    for op in ops {
        hoist(&mut op.body, id);
    }
}

/// Sets settings back, and takes from operations what is not needed.
fn simplify(best: &mut Script, fails: &impl Fn(&Script) -> bool) {
    let settings: [fn(&mut Settings); 12] = [
        |settings| *settings = Settings { end: settings.end, ..Settings::default() },
        |settings| settings.end = Settings::default().end,
        |settings| settings.knobs = Settings::default().knobs,
        |settings| settings.knobs.up = Settings::default().knobs.up,
        |settings| settings.knobs.down = Settings::default().knobs.down,
        |settings| settings.knobs.write = Settings::default().knobs.write,
        |settings| settings.knobs.read = Settings::default().knobs.read,
        |settings| settings.knobs.keeps_back = false,
        |settings| settings.knobs.knows = true,
        |settings| settings.cache = Settings::default().cache,
        |settings| settings.single = false,
        |settings| (settings.queue, settings.tasks, settings.fresh) = (0, 61, false),
    ];
    for change in settings {
        attempt(best, fails, |tried| change(&mut tried.plan.settings));
    }
    let ids: Vec<u32> = best.plan.ops().map(|(_, op)| op.id).collect();
    for id in ids {
        for caller in 0..best.plan.callers.len() {
            attempt(best, fails, |tried| {
                if let Some(caller) = tried.plan.callers.get_mut(caller) {
                    hoist(&mut caller.ops, id);
                }
            });
        }
        for change in CHANGES {
            attempt(best, fails, |tried| {
                for caller in &mut tried.plan.callers {
                    alter(&mut caller.ops, id, change);
                }
            });
        }
    }
}

/// What may be taken from an operation.
const CHANGES: [fn(&mut Op); 13] = [
    |op| op.handle = false,
    |op| op.limit = None,
    |op| op.drops = false,
    |op| op.take = None,
    |op| op.bytes = None,
    |op| op.end = End::Well,
    |op| op.of = 0,
    |op| {
        let Work { inserts, token, rows, ms, .. } = op.work;
        op.work = Work { inserts, token, rows, ms, ..Work::default() };
    },
    |op| op.work.token = Some(op.token()),
    |op| op.work.ms = 0,
    |op| op.work.ms = op.work.ms.min(10),
    |op| op.work.rows = op.work.rows.min(1),
    |op| op.count = op.count.min(1),
];

/// Keeps a change if the script still fails with it.
fn attempt(best: &mut Script, fails: &impl Fn(&Script) -> bool, change: impl Fn(&mut Script)) {
    let mut tried = best.clone();
    change(&mut tried);
    if tried != *best && fails(&tried) {
        *best = tried;
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
