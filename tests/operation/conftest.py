"""A small model for the services of these tests."""

from support.service_fixtures import bundle as bundle
from support.service_fixtures import client as client
from support.service_fixtures import other_bundle as other_bundle
from support.service_fixtures import own_keys as own_keys
from support.service_fixtures import site as site
