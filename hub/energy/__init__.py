"""What a meter's counters mean for the person who pays: kWh, cost and standby by day and month (:mod:`hub.energy.bill`)
at the prices of hub.toml (:mod:`hub.energy.prices`). Pure; the hours come from :mod:`hub.store.hours`."""
