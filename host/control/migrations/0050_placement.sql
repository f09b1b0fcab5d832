-- Where a tenant's metadata lives. SQLite has one place; PostgreSQL has others (`store/placement.rs`).
ALTER TABLE tenants ADD COLUMN metadata TEXT NOT NULL DEFAULT 'shared';
