//! Who subscribes at a time: so many in all, and of one tenant a quarter of them, so that no tenant keeps the others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Subscribers of one process; each asks the ledger twice a second while there is nothing to tell.
pub(super) const SUBSCRIBERS_MAX: usize = 200;
pub(super) const SUBSCRIBERS_OF_TENANT_MAX: usize = 50;

/// The seats that are taken, by tenant. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(Arc<Mutex<BTreeMap<String, usize>>>);

/// One that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    tenant: String,
    seats: Seats,
}

/// There is none: so many are taken already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    ByAll,
    ByTenant,
}

impl Seats {
    pub(super) fn take(&self, tenant: &str) -> Result<Seat, Full> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= SUBSCRIBERS_MAX {
            return Err(Full::ByAll);
        }
        let of_tenant = taken.entry(tenant.to_owned()).or_default();
        if *of_tenant >= SUBSCRIBERS_OF_TENANT_MAX {
            return Err(Full::ByTenant);
        }
        *of_tenant += 1;
        drop(taken);
        Ok(Seat {
            tenant: tenant.to_owned(),
            seats: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(of_tenant) = taken.get_mut(&self.tenant) {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, SUBSCRIBERS_MAX, SUBSCRIBERS_OF_TENANT_MAX, Seat, Seats};

    fn fill(seats: &Seats, tenant: &str, number: usize) -> Vec<Seat> {
        (0..number).map(|_| seats.take(tenant).expect("a seat")).collect()
    }

    #[test]
    fn a_tenant_leaves_seats_for_others() {
        let seats = Seats::default();
        let mut of_shop = fill(&seats, "shop", SUBSCRIBERS_OF_TENANT_MAX);
        assert_eq!(seats.take("shop").expect_err("full"), Full::ByTenant);
        let other = seats.take("bank").expect("a seat");
        of_shop.pop();
        fill(&seats, "shop", 1);
        drop((of_shop, other));
        assert!(seats.lock().is_empty(), "who has left is not remembered");
    }

    #[test]
    fn all_tenants_together_are_bounded() {
        let seats = Seats::default();
        let mut taken = Vec::new();
        for tenant in 0..SUBSCRIBERS_MAX / SUBSCRIBERS_OF_TENANT_MAX {
            taken.extend(fill(&seats, &tenant.to_string(), SUBSCRIBERS_OF_TENANT_MAX));
        }
        assert_eq!(seats.take("late").expect_err("full"), Full::ByAll);
        assert_eq!(taken.len(), SUBSCRIBERS_MAX);
    }
}
