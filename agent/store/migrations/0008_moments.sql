-- Documents of builds tell the monotonic time at which a build was asked for and set out, and where the host stands.
-- Nothing here changes for that; the number keeps a version that does not know those members from setting such builds aside.

SELECT 1;
