//! Checks after rows have arrived, or none: whether the fields are there, and whether an empty list is right.

use acumatica_pushdown::Dialect;

use super::ListScan;
use crate::dialect::Listing;
use crate::error::Result;
use crate::metadata::learnt::{self, Topic};
use crate::read::missing::vouch;
use crate::read::parameters;
use crate::read::supplement::check_none;
use crate::read::witness;
use crate::request::Surface;

impl ListScan<'_, '_> {
    /// A field that no row so far has is NULL if the definition has it, as a field of a feature that is switched off:
    /// REST sends `{}` and OData `null` for a field without value (docs/acumatica.md section 2). To be called while no
    /// session is in use, since the definition may have to be requested.
    pub async fn check_fields(&mut self, listing: &Listing) -> Result<()> {
        if self.position == self.request.offset || self.is_settled(listing) {
            return Ok(());
        }
        let missing = self.missing(listing);
        if missing.is_empty() {
            return Ok(());
        }
        self.lease = None;
        vouch(self.site, self.request, &missing, &self.shared.report).await?;
        self.vouched.extend(missing);
        Ok(())
    }

    /// Removes fields from the memory that rows have by now.
    pub fn tell_what_is_there(&self) {
        let vouched = &self.request.findings.vouched;
        if vouched.is_empty() || !self.decoder.has_met_all() {
            return;
        }
        let never: Vec<usize> = self.decoder.never_met().collect();
        let there = vouched.iter().filter(|index| !never.contains(index));
        let paths: Vec<String> = there.map(|&index| self.request.columns[index].path.join("/")).collect();
        self.site.learnt.forget(Topic::Absent, &learnt::place(&self.request.target), &paths);
    }

    /// The columns whose field every row should have, and no row so far has.
    pub(super) fn missing(&self, listing: &Listing) -> Vec<usize> {
        let unknown = |index: &usize| listing.expected.contains(index) && !self.vouched.contains(index);
        self.decoder.never_met().filter(unknown).collect()
    }

    /// Whether no field is missing in the rows so far. Until then no row is delivered, so that the field can be looked
    /// up and all rows be read again.
    pub(super) fn is_settled(&mut self, listing: &Listing) -> bool {
        if self.settled {
            return true;
        }
        let complete = self.missing(listing).is_empty();
        self.settled = complete && self.decoder.has_met_all();
        complete
    }

    /// Checks an empty list: an inquiry without its parameters answers without rows and without an error.
    pub async fn check_empty(&mut self, listing: &Listing, dialect: Dialect) -> Result<()> {
        let target = &self.request.target;
        if self.rows > 0 {
            return Ok(());
        }
        if target.form {
            return parameters::check_empty(self.request, self.values);
        }
        if target.surface == Surface::Rest && self.position == self.request.offset {
            check_none(self.request, listing, self.access, &self.shared.stats).await?;
            // If another portion of the same list of values has rows, the server applies the condition.
            let believed = self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.portions.has_rows());
            return match believed {
                true => Ok(()),
                false => witness::check(self.site, self.request, dialect, self.shared).await,
            };
        }
        if target.surface != Surface::GenericInquiry {
            return Ok(());
        }
        if !self.request.parameters.is_empty() {
            return parameters::check_empty(self.request, self.values);
        }
        // If there are definitions, they were checked before. If not, the user is told.
        let site = self.site;
        if site.learnt.get(Topic::Definition, &learnt::place(target), Topic::ALL).is_some() {
            return Ok(());
        }
        self.access
            .ask(|lease| async {
                let set = site.entity_set(&lease, target.surface, &target.name).await;
                (lease, set)
            })
            .await?;
        Ok(())
    }

    /// Records what the list has shown about ids.
    pub fn end_portion(&mut self) {
        let ids_stay = self.continuity.ids_stay();
        if let Some(elsewhere) = self.elsewhere.as_mut().filter(|_| self.rows > 0) {
            elsewhere.portions.ids_stay(ids_stay);
        }
    }
}
