from django.urls import path

from . import sitemaps, views

app_name = "catalogue"

urlpatterns = [
    path("", views.product_list, name="product_list"),
    path("categories/<slug:slug>/", views.product_list, name="category"),
    path("products/<slug:slug>/", views.product, name="product"),
    path("robots.txt", sitemaps.robots, name="robots"),
    path("sitemap.xml", sitemaps.sitemap, name="sitemap"),
    path("sitemap-<slug:section>.xml", sitemaps.sitemap_section, name="sitemap_section"),
]
