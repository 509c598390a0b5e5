"""What several test files share: course folders, servers, a browser; no tests."""
