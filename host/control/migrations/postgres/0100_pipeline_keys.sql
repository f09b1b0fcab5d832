-- Which version of a tenant's key its pipelines are sealed under, for the assignment; the keys in these rows are wrapped.
CREATE POLICY fleet_sees ON tenant_keys FOR SELECT USING (current_setting('bulkhead.reach', true) = 'fleet');
