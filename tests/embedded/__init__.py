"""A shop that knows nothing of the Wirelog server: a Django project of its own, which installs Wirelog as an app."""
