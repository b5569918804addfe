//! What is looked at once rows have come, or none: whether their fields are there, and whether there are none at all.

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
    /// A field that no row so far has is NULL if the definition knows it, as one of a feature that is switched off:
    /// REST sends `{}` and OData `null` for a field without value (docs/acumatica.md section 2). To be called while no
    /// session is in use: the definition may have to be asked for.
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

    /// Fields that no row had before may be there by now.
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

    /// The columns whose field was to be in each row, and is in none so far.
    pub(super) fn missing(&self, listing: &Listing) -> Vec<usize> {
        let unknown = |index: &usize| listing.expected.contains(index) && !self.vouched.contains(index);
        self.decoder.never_met().filter(unknown).collect()
    }

    /// Whether nothing is missing in the rows so far. Until then none is handed over, so that a field that is written
    /// otherwise can be looked up and all be read again.
    pub(super) fn is_settled(&mut self, listing: &Listing) -> bool {
        if self.settled {
            return true;
        }
        let complete = self.missing(listing).is_empty();
        self.settled = complete && self.decoder.has_met_all();
        complete
    }

    /// An inquiry with parameters answers without rows or error when none are given: that must not pass
    /// for an empty one.
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
            // Where another portion of the same list of values has rows, the server knows the condition.
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
        // Where there are definitions, they have said so before; where there are none, that must not pass in silence.
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

    /// Notes what has been learnt of ids once a list has been read.
    pub fn end_portion(&mut self) {
        let ids_stay = self.continuity.ids_stay();
        if let Some(elsewhere) = self.elsewhere.as_mut().filter(|_| self.rows > 0) {
            elsewhere.portions.ids_stay(ids_stay);
        }
    }
}
