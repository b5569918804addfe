//! Names in `$filter` and `$orderby` of OData.

use crate::data::Access;
use crate::filter::eval::{Expr, Field, Scope};
use crate::views::{NavTo, View};

pub struct ViewScope<'a> {
    views: &'a [View],
    view: &'a View,
}

impl<'a> ViewScope<'a> {
    pub fn new(views: &'a [View], view: &'a View) -> ViewScope<'a> {
        ViewScope { views, view }
    }

    /// A property, or one behind navigation to one row: `Customer/AcctName`.
    pub fn column(&self, path: &str) -> Result<Field, String> {
        let missing =
            || format!("Could not find a property named '{path}' on type '{}'.", self.view.type_name());
        let Some((nav, rest)) = path.split_once('/') else {
            let prop = self.view.prop(path).ok_or_else(missing)?;
            if prop.refused {
                return Err(format!("The property '{path}' cannot be used in the $filter query option."));
            }
            return Ok(prop.field.clone());
        };
        let nav = self.view.navs.iter().find(|n| n.name == nav).ok_or_else(missing)?;
        let NavTo::One(link) = nav.to else { return Err(missing()) };
        let field = ViewScope::new(self.views, &self.views[nav.view]).column(rest)?;
        let mut hops = vec![(self.view.table, link)];
        hops.extend(field.access.hops.iter().copied());
        Ok(Field { access: Access { hops, ..field.access }, ..field })
    }
}

impl Scope for ViewScope<'_> {
    fn field(&self, path: &str) -> Result<Expr, String> {
        self.column(path).map(Expr::Field)
    }

    fn lambda(&self, path: &str) -> Result<(usize, Box<dyn Scope + '_>), String> {
        let nav = self.view.navs.iter().find(|n| n.name == path);
        match nav.map(|n| (n.to, n.view)) {
            Some((NavTo::Many(child), view)) => {
                Ok((child, Box::new(ViewScope::new(self.views, &self.views[view]))))
            }
            _ => Err(format!(
                "Could not find a collection named '{path}' on type '{}'.",
                self.view.type_name()
            )),
        }
    }
}
