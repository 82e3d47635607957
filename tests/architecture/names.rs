//! Finds the file that a path in code leads to, through imports and re-exports.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, production};

/// Re-exports of re-exports end somewhere; a circle of imports does not
/// compile, but might be read from a broken file.
const DEEPEST: usize = 16;

/// Every module of the crate by its path.
pub struct Names {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Paths by the name under which a `use` makes them known.
    imports: BTreeMap<String, Vec<Vec<String>>>,
    /// The paths before `::*`.
    globs: Vec<Vec<String>>,
}

impl Names {
    pub fn of_the_crate() -> Self {
        Self::new(production().filter(|source| source.area() != "main"))
    }

    pub fn new<'a>(sources: impl Iterator<Item = &'a Source>) -> Self {
        let mut names = Self {
            modules: BTreeMap::from([(Vec::new(), Module::default())]),
        };
        for source in sources {
            names.add(source);
        }
        names.link();
        names
    }

    fn add(&mut self, source: &Source) {
        for (path, scope) in &source.facts.scopes {
            let module = self.modules.entry(path.clone()).or_default();
            module.file.clone_from(&source.shown);
            module.items.extend(scope.items.iter().cloned());
        }
        for import in &source.facts.imports {
            let module = self.modules.entry(import.module.clone()).or_default();
            match &import.name {
                Some(name) => module
                    .imports
                    .entry(name.clone())
                    .or_default()
                    .push(import.path.clone()),
                None => module.globs.push(import.path.clone()),
            }
        }
    }

    /// Tells each module its children.
    fn link(&mut self) {
        let paths: Vec<Vec<String>> = self.modules.keys().cloned().collect();
        for path in paths {
            if let Some((name, parent)) = path.split_last()
                && let Some(module) = self.modules.get_mut(parent)
            {
                module.children.insert(name.clone());
            }
        }
    }

    /// The path from the root of the crate; `None` for one that begins with a
    /// name.
    pub fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut from = match path[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => module.to_vec(),
            _ => return None,
        };
        let mut rest = path;
        while let Some((first, after)) = rest.split_first() {
            match first.as_str() {
                "crate" | "self" => {}
                "super" => {
                    from.pop();
                }
                _ => break,
            }
            rest = after;
        }
        from.extend(rest.iter().cloned());
        Some(from)
    }

    /// The files that declare what `path` names in `module`: none for a module,
    /// a foreign crate or a local variable, two where a type and a function
    /// share a name.
    pub fn files(&self, module: &[String], path: &[String]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        self.resolve(module, path, 0, &mut found);
        found
    }

    fn resolve<'a>(
        &'a self,
        module: &[String],
        path: &[String],
        depth: usize,
        found: &mut BTreeSet<&'a str>,
    ) {
        match Self::absolute(module, path) {
            Some(absolute) => self.walk(&[], &absolute, depth, found),
            None => self.walk(module, path, depth, found),
        }
    }

    /// Looks `rest` up in the module `at`.
    fn walk<'a>(
        &'a self,
        at: &[String],
        rest: &[String],
        depth: usize,
        found: &mut BTreeSet<&'a str>,
    ) {
        let Some((name, after)) = rest.split_first() else {
            return;
        };
        let Some(module) = self.modules.get(at).filter(|_| depth < DEEPEST) else {
            return;
        };
        // A function may have the name of a module, but has nothing below it.
        let is_child = module.children.contains(name);
        if is_child {
            let child = [at, std::slice::from_ref(name)].concat();
            self.walk(&child, after, depth + 1, found);
        }
        if module.items.contains(name) && (after.is_empty() || !is_child) {
            found.insert(&module.file);
        }
        for import in module.imports.get(name).into_iter().flatten() {
            // `use tower::Layer` names a foreign crate,
            // `use self::queue::Queue` and `use queue::Queue` a child.
            let is_own_name = import.len() == 1 && import[0] == *name;
            if !is_own_name {
                let whole = [import.as_slice(), after].concat();
                self.resolve(at, &whole, depth + 1, found);
            }
        }
        if found.is_empty() && !is_child {
            for glob in &module.globs {
                let whole = [glob.as_slice(), rest].concat();
                self.resolve(at, &whole, depth + 1, found);
            }
        }
    }
}
