//! Who subscribes at a time: so many in all. A tenant with a quarter of the seats gets more only while another quarter stays free, so that none
//! keeps the others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Subscribers of one process; each asks the ledger twice a second while there is nothing to tell.
pub(super) const SUBSCRIBERS_MAX: usize = 200;
const QUARTER: usize = SUBSCRIBERS_MAX / 4;

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
        let free = SUBSCRIBERS_MAX - taken.values().sum::<usize>();
        if free == 0 {
            return Err(Full::ByAll);
        }
        if free <= QUARTER && taken.get(tenant).is_some_and(|of_tenant| *of_tenant >= QUARTER) {
            return Err(Full::ByTenant);
        }
        *taken.entry(tenant.to_owned()).or_default() += 1;
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
    use super::{Full, QUARTER, SUBSCRIBERS_MAX, Seat, Seats};

    fn fill(seats: &Seats, tenant: &str, number: usize) -> Vec<Seat> {
        (0..number).map(|_| seats.take(tenant).expect("a seat")).collect()
    }

    #[test]
    fn a_tenant_leaves_seats_for_others() {
        let seats = Seats::default();
        let mut of_shop = fill(&seats, "shop", 3 * QUARTER);
        assert_eq!(seats.take("shop").expect_err("full"), Full::ByTenant);
        let other = seats.take("bank").expect("a seat");
        assert_eq!(seats.take("shop").expect_err("full"), Full::ByTenant);
        of_shop.truncate(2 * QUARTER);
        fill(&seats, "shop", QUARTER - 1);
        drop((of_shop, other));
        assert!(seats.lock().is_empty(), "who has left is not remembered");
    }

    #[test]
    fn all_tenants_together_are_bounded() {
        let seats = Seats::default();
        let mut taken = Vec::new();
        for tenant in 0..SUBSCRIBERS_MAX / QUARTER {
            taken.extend(fill(&seats, &tenant.to_string(), QUARTER));
        }
        assert_eq!(seats.take("late").expect_err("full"), Full::ByAll);
        assert_eq!(taken.len(), SUBSCRIBERS_MAX);
    }
}
